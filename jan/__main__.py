"""``python -m jan`` is the ``jan`` command."""

from jan.cli.commands import main

main()
