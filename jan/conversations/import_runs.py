"""Imports of conversations from other applications: each one whole or not at all, none of them twice."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import islice

import msgspec

from jan.conversations.history import check_message
from jan.conversations.titles import title_of
from jan.errors import Conflict, InvalidRequest, RateLimited
from jan.idempotency.ids import IdSource
from jan.importing.kinds import ReadConversation, read_pieces
from jan.importing.pieces import Piece, joined, pieces
from jan.schema.import_reports import ForeignKind, ImportReport, ImportStop, SkippedItem
from jan.storage.records import ConversationRecord, MessageRecord
from jan.storage.repositories import Store

# Bytes of JSON, and conversations, that are read before they are stored.
_BATCH_BYTES, _BATCH = 4 * 1024 * 1024, 100

Restore = Callable[[str, ConversationRecord, Iterable[MessageRecord], IdSource], Awaitable[object]]


class ImportRun:
    """Imports the conversations of one file for one user. ``report``: what became of them so far."""

    def __init__(
        self, store: Store, restore: Restore, user_id: str, source: ForeignKind | None, most_named: int | None
    ) -> None:
        self._store = store
        self._restore = restore
        self._user_id = user_id
        self._source = source
        self._most_named = most_named
        self.report = ImportReport()

    async def run(
        self,
        chunks: Iterable[bytes],
        *,
        first: int = 1,
        progress: Callable[[ImportReport], None] | None = None,
    ) -> ImportReport:
        """Import the conversations in chunks of a file, which are taken and read on a thread.

        The conversations are numbered from ``first``. ``progress`` is called now and then.

        Raises Unavailable; what was imported before stays. A quota ends the import, and the report says so.
        """
        found = joined(pieces(chunks, first=first))
        while batch := await asyncio.to_thread(_next_batch, found):
            self.report.total += len(batch)
            if self.report.error is not None:
                self.report.untried += len(batch)
                continue
            read = await asyncio.to_thread(read_pieces, batch, self._source, self._user_id, check_message)
            await self._add_all(read)
            if progress is not None:
                progress(self.report)
        return self.report

    async def _add_all(self, batch: list[ReadConversation]) -> None:
        origins = [one.record.origin for one in batch if one.record is not None and one.record.origin]
        known = await self._store.conversations.known_origins(self._user_id, origins)
        for number, one in enumerate(batch):
            if one.kind is not None and one.kind not in self.report.sources:
                self.report.sources.append(one.kind)
            if one.record is not None and one.record.origin in known:
                self.report.known += 1
                continue
            try:
                await self._add(one)
            except RateLimited as error:
                self.report.error = ImportStop(code=error.code, message=error.message)
                self.report.untried += len(batch) - number
                return

    async def _add(self, one: ReadConversation) -> None:
        if one.record is None:
            self.report.failed += 1
            self._name(one.skipped)
            return
        titles = (title_of(message) for message in one.messages if message.role == "user")
        title = one.record.title or next(filter(None, titles), "")
        record = msgspec.structs.replace(one.record, title=title)
        try:
            await self._restore(self._user_id, record, one.messages, IdSource())
        except Conflict:  # another import stored it meanwhile
            self.report.known += 1
            return
        except InvalidRequest as error:
            self.report.failed += 1
            self._name([SkippedItem(conversation=title, reason=error.message)])
            return
        self.report.imported += 1
        self._name(one.skipped)

    def _name(self, skipped: list[SkippedItem]) -> None:
        """Add items to the report. A hostile file must not become an answer many times as large."""
        there = self.report.skipped
        room = len(skipped) if self._most_named is None else self._most_named - len(there)
        there += skipped[:room]
        self.report.unnamed += max(0, len(skipped) - room)


def _next_batch(found: Iterator[Piece]) -> list[Piece]:
    batch: list[Piece] = []
    size = 0
    for piece in islice(found, _BATCH):
        batch.append(piece)
        size += len(piece.data)
        if size >= _BATCH_BYTES:
            break
    return batch
