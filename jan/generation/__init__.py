"""The run of one request on a model: reserves, counts and settles tokens, and passes events on."""

from typing import TYPE_CHECKING

from jan.routing.moved import old_names_of

if not TYPE_CHECKING:
    __getattr__ = old_names_of(__name__)
