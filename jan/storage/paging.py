"""Cursors: opaque to clients, the sort key of the last item inside."""

import re
from collections.abc import Callable
from typing import TypeVar

from jan.errors import InvalidRequest
from jan.storage.records import POSITION, Page

T = TypeVar("T")

_ID = re.compile(r"[!-~]{1,200}")
_SEQUENCE = re.compile(r"[0-9]{1,15}")


def page_of(found: list[T], limit: int, key: Callable[[T], str]) -> Page[T]:
    """The first ``limit`` of the items found; one more than that tells that there is a next page."""
    items = found[:limit]
    return Page(items, key(items[-1]) if len(found) > limit else None)


def position_of(cursor: str | None) -> str | None:
    """Check a cursor into conversations."""
    return _checked(POSITION, cursor)


def id_of(cursor: str | None) -> str:
    """Check a cursor into records in order of id; "" is the beginning."""
    return _checked(_ID, cursor) or ""


def sequence_of(cursor: str | None) -> int | None:
    """Check a cursor into messages."""
    checked = _checked(_SEQUENCE, cursor)
    return None if checked is None else int(checked)


def _checked(pattern: re.Pattern[str], cursor: str | None) -> str | None:
    if cursor is not None and not pattern.fullmatch(cursor):
        raise InvalidRequest("This cursor is not one that a list gave out.", param="cursor", code="invalid_cursor")
    return cursor
