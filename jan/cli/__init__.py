"""The ``jan`` command: one file a family of commands. ``commands`` is the entry point."""

from typing import TYPE_CHECKING

from jan.routing.moved import old_names_of

if not TYPE_CHECKING:
    __getattr__ = old_names_of(__name__)
