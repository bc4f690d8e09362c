"""The ``jan`` command: one file a family of commands; ``commands`` is where it begins."""
