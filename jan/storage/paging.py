"""Pages of lists, and cursors: opaque to clients, with the sort key of the last item inside."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Protocol, TypeVar

import msgspec

from jan.errors import InvalidRequest
from jan.schema.plain_text import NAME
from jan.storage.records import POSITION, MessageRecord, Page, milliseconds

T = TypeVar("T")

# Size limits of one page of messages and of one path from the root, because a request holds them in memory.
PAGE_BYTES = 16 * 1024 * 1024
PATH_BYTES = 16 * 1024 * 1024

# Records of users and keys are small: this many are fetched at once where all of them are wanted.
_ALL_AT_ONCE = 500

# Identifiers that we make begin with their kind: `user_`, `key_`.
_ID = re.compile(r"[a-z]+_[!-~]{1,190}")
_FOLDER = re.compile(rf"(?=.{{1,100}}$){NAME}")
_SEQUENCE = re.compile(r"[0-9]{1,15}")


def page_of(found: list[T], limit: int, key: Callable[[T], str]) -> Page[T]:
    """Return a page of the first ``limit`` items. One more item found means that there is a next page."""
    items = found[:limit]
    return Page(items, key(items[-1]) if len(found) > limit else None)


class FetchPage(Protocol[T]):
    """A list operation of a repository, with all but the page decided."""

    async def __call__(self, *, limit: int, cursor: str | None = None) -> Page[T]:
        """Return the page after ``cursor``."""


async def every_item(fetch: FetchPage[T]) -> list[T]:
    """Return all items of a list, however many pages it has."""
    page = await fetch(limit=_ALL_AT_ONCE)
    items = list(page.items)
    while page.next_cursor is not None:
        page = await fetch(limit=_ALL_AT_ONCE, cursor=page.next_cursor)
        items += page.items
    return items


def size_of(message: MessageRecord) -> int:
    """Return the size of a message that counts against a budget, in bytes."""
    return len(msgspec.json.encode(message))


class Budget:
    """Limits a page to a number of items and a number of bytes. The first item is admitted whatever its size."""

    def __init__(self, items: int, size: int) -> None:
        self._items = items
        self._size = size
        self.spent = 0
        self.taken = 0
        self.exceeded = False

    def admits(self, size: int) -> bool:
        """Return True if one more item of this size fits. Once an item did not fit, none does."""
        self.spent += size
        fits = self.taken == 0 or (self.taken < self._items and self.spent <= self._size)
        self.exceeded = self.exceeded or not fits
        self.taken += not self.exceeded
        return not self.exceeded


def page_within(found: list[T], budget: Budget, key: Callable[[T], str]) -> Page[T]:
    """Return a page of the items that a budget admitted. If it refused one, there is a next page."""
    return Page(found, key(found[-1]) if budget.exceeded else None)


def too_long() -> InvalidRequest:
    """Make the error for a path that is too large to hold in memory."""
    return InvalidRequest(
        f"The conversation has more than {PATH_BYTES} bytes from its root to this message. Begin another, or a "
        "branch nearer to the root.",
        code="conversation_too_long",
        param="conversation_id",
    )


def position_of(cursor: str | None) -> str | None:
    """Check a cursor into a list of conversations."""
    return _checked(POSITION, cursor)


def position_at(moment: datetime) -> str:
    """Return the position below which all conversations are that did not change since a moment."""
    return f"{milliseconds(moment):012x}"


def folder_of(cursor: str | None) -> str:
    """Check a cursor into folders ordered by name; "" is the beginning."""
    return _checked(_FOLDER, cursor) or ""


def id_of(cursor: str | None) -> str:
    """Check a cursor into records ordered by id; "" is the beginning."""
    return _checked(_ID, cursor) or ""


def sequence_of(cursor: str | None) -> int | None:
    """Check a cursor into a list of messages."""
    checked = _checked(_SEQUENCE, cursor)
    return None if checked is None else int(checked)


def _checked(pattern: re.Pattern[str], cursor: str | None) -> str | None:
    if cursor is not None and not pattern.fullmatch(cursor):
        raise InvalidRequest("This cursor is not one that a list gave out.", param="cursor", code="invalid_cursor")
    return cursor
