"""The contract of whole collections of a store, for export and import."""

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from jan.storage.records import Record

R = TypeVar("R", bound=Record)


class Archive(Protocol):
    """Whole collections, for export and import. Requests use only ``insert``, ``matching`` and ``remove``."""

    async def count(self, kind: type[Record]) -> int:
        """Count the records of this kind."""

    async def scan(self, kind: type[R], *, after: str, limit: int) -> list[R]:
        """List records in order of id, beginning after ``after`` ("" is the beginning)."""

    async def matching(self, kind: type[R], ids: Sequence[str]) -> list[R]:
        """Return the stored records among these ids, in any order."""

    async def insert(self, kind: type[R], records: Sequence[R]) -> None:
        """Add records unchanged. Raises Conflict if an id is taken; records before it may have been added."""

    async def remove(self, kind: type[Record], record_id: str) -> bool:
        """Remove a record and nothing that belongs to it. Of several calls for one, one returns True."""

    async def load(self, batches: Iterable[tuple[type[Record], Sequence[Record]]]) -> int:
        """Add those of many records that are not there, all of them or none; return the number added.

        On a backend that can't undo this, ``unfinished`` is true until it is repeated with the same records.
        """

    async def unfinished(self) -> bool:
        """Return True if a ``load`` was interrupted, and has left some of its records."""
