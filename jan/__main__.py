"""``python -m jan`` is the ``jan`` command."""

from jan.cli import main

main()
