"""Carries requests with an Idempotency-Key out once. ``ids`` makes the ids and secrets of what they create."""

from typing import TYPE_CHECKING

from jan.routing.moved import old_names_of

if not TYPE_CHECKING:
    __getattr__ = old_names_of(__name__)
