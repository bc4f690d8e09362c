"""Stored chat completions on SQLite."""

import sqlite3

import msgspec

from jan.schema.stored_items import JsonObject
from jan.storage.paging import PAGE_BYTES, Budget, page_within
from jan.storage.records import MessageRecord, Page
from jan.storage.shared_rules import missing
from jan.storage.sqlite.conversation_rows import count_bytes, owned
from jan.storage.sqlite.database import Database
from jan.storage.sqlite.tables import MESSAGES

_OLDEST_FIRST = "WHERE completion_of = ? AND id > ? ORDER BY id LIMIT ?"
_NEWEST_FIRST = "WHERE completion_of = ? AND id < ? ORDER BY id DESC LIMIT ?"
_END = "~"  # sorts after every id


class SqliteCompletions:
    """Implements ``completion_records.CompletionRepository`` on SQLite."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def page(
        self, user_id: str, *, limit: int, after: str | None = None, newest_first: bool = False
    ) -> Page[MessageRecord]:
        clauses = _NEWEST_FIRST if newest_first else _OLDEST_FIRST
        start = after or (_END if newest_first else "")
        budget = Budget(limit, PAGE_BYTES)

        def work(db: sqlite3.Connection) -> list[MessageRecord]:
            return MESSAGES.select_within(db, clauses, user_id, start, limit + 1, admits=budget.admits)

        return page_within(await self._db.read(work), budget, lambda message: message.id)

    async def describe(self, user_id: str, message_id: str, response: JsonObject) -> MessageRecord:
        def work(db: sqlite3.Connection) -> MessageRecord:
            found = MESSAGES.find(db, "id = ? AND completion_of = ?", message_id, user_id)
            if found is None:
                raise missing(MessageRecord)
            described = msgspec.structs.replace(found, response=response)
            conversation = owned(db, user_id, found.conversation_id)
            count_bytes(db, conversation, MESSAGES.resize(db, described))
            return described

        return await self._db.write(work, erases=True)
