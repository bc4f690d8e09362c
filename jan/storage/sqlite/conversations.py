"""Conversations and their messages on SQLite."""

import sqlite3
import sys
from collections.abc import Sequence
from datetime import datetime

import msgspec

from jan.schema.limits import Quota
from jan.storage.conversation_lists import EVERYTHING, ListFilter
from jan.storage.folded_text import fold
from jan.storage.holdings import Amounts, amounts_of
from jan.storage.paging import (
    PAGE_BYTES,
    PATH_BYTES,
    Budget,
    page_of,
    page_within,
    position_at,
    position_of,
    sequence_of,
    too_long,
)
from jan.storage.records import (
    AnswerProgress,
    ConversationChanges,
    ConversationRecord,
    MessageRecord,
    Page,
    milliseconds,
    now,
    origin_key,
)
from jan.storage.repositories import NOBODY
from jan.storage.shared_rules import apply, below, emptied, missing, same_message, taken, with_progress
from jan.storage.sqlite.conversation_rows import count_bytes, filtered, held_by_conversation, owned
from jan.storage.sqlite.database import Database
from jan.storage.sqlite.holdings import add_within, change
from jan.storage.sqlite.tables import CONVERSATIONS, MESSAGES

_replace = msgspec.structs.replace

BY_CHANGE = """WHERE user_id = ? AND position < ? AND instr(title_folded, ?) > 0 {}
    ORDER BY position DESC LIMIT ?"""
UNNAMED = "WHERE unnamed = 1 AND position < ? ORDER BY position LIMIT ?"
OLDEST_FIRST = "WHERE conversation_id = ? AND sequence > ? ORDER BY sequence LIMIT ?"
NEWEST_FIRST = "WHERE conversation_id = ? AND sequence < ? ORDER BY sequence DESC LIMIT ?"
# The database must not sort the path, because it would hold all of it at once.
PATH = """WHERE id IN (
    WITH RECURSIVE path(id, parent_id, length) AS (
        SELECT id, parent_id, 1 FROM messages WHERE id = ?
        UNION ALL
        SELECT m.id, m.parent_id, path.length + 1 FROM path JOIN messages m ON m.id = path.parent_id
        WHERE path.length < ?)
    SELECT id FROM path)"""
# Jumps from one conversation to the next in the index, and reads none of their messages.
CONVERSATION_IDS = """WITH RECURSIVE named(id) AS (
        SELECT min(conversation_id) FROM messages WHERE conversation_id > ?
        UNION ALL
        SELECT (SELECT min(conversation_id) FROM messages WHERE conversation_id > named.id) FROM named
        WHERE named.id IS NOT NULL LIMIT ?)
    SELECT id FROM named"""
# An answer in the queue is not interrupted: somebody will go on with it.
STALE = """WHERE status = 'streaming' AND updated_at < ?
    AND NOT EXISTS (SELECT 1 FROM queued_answers q WHERE q.id = messages.id)"""
_ORPHANS = """DELETE FROM messages WHERE conversation_id = ?
    AND NOT EXISTS (SELECT 1 FROM conversations WHERE id = ?)"""
_END = "~"  # sorts after every position


class SqliteConversations:
    """Implements ``repositories.ConversationRepository`` on SQLite."""

    def __init__(self, database: Database, quota: Quota) -> None:
        self._db = database
        self._quota = quota

    async def create(self, conversation: ConversationRecord) -> None:
        def work(db: sqlite3.Connection) -> None:
            CONVERSATIONS.insert(db, conversation)
            add_within(db, conversation.user_id, amounts_of(conversation), self._quota)

        await self._db.write(work)

    async def get(self, user_id: str, conversation_id: str) -> ConversationRecord:
        return await self._db.read(lambda db: owned(db, user_id, conversation_id))

    async def known_origins(self, user_id: str, origins: Sequence[str]) -> set[str]:
        def work(db: sqlite3.Connection) -> set[str]:
            sql = "SELECT 1 FROM conversations WHERE origin_key = ?"
            return {one for one in origins if db.execute(sql, (origin_key(user_id, one),)).fetchone()}

        return await self._db.read(work)

    async def page(
        self, user_id: str, *, limit: int, cursor: str | None = None, among: ListFilter = EVERYTHING
    ) -> Page[ConversationRecord]:
        more, folders = filtered(among)
        start = position_of(cursor) or _END
        values: list[str | int] = [user_id, start, fold(among.title or ""), *folders, limit + 1]
        found = await self._db.read(lambda db: CONVERSATIONS.select(db, BY_CHANGE.format(more), *values))
        return page_of(found, limit, lambda conversation: conversation.position)

    async def update(self, user_id: str, conversation_id: str, changes: ConversationChanges) -> ConversationRecord:
        def work(db: sqlite3.Connection) -> ConversationRecord:
            changed = apply(owned(db, user_id, conversation_id), changes)
            at = changed.updated_at if changes.only_sorts else now()
            return CONVERSATIONS.replace(db, _replace(changed, updated_at=at))

        return await self._db.write(work, erases=_may_hold_text(user_id))

    async def give_title(self, user_id: str, conversation_id: str, title: str) -> None:
        def work(db: sqlite3.Connection) -> None:
            found = owned(db, user_id, conversation_id)
            if not found.title:
                CONVERSATIONS.replace(db, _replace(found, title=title, updated_at=now()))

        await self._db.write(work)

    async def delete(self, user_id: str, conversation_id: str) -> None:
        def work(db: sqlite3.Connection) -> None:
            change(db, user_id, held_by_conversation(db, owned(db, user_id, conversation_id)).negative())
            for table in ("messages", "queued_answers", "shares"):
                db.execute(f"DELETE FROM {table} WHERE conversation_id = ?", (conversation_id,))
            db.execute("DELETE FROM conversations WHERE id = ?", (conversation_id,))

        await self._db.write(work, erases=_may_hold_text(user_id))

    async def unnamed(self, before: datetime, limit: int) -> list[ConversationRecord]:
        values = (position_at(before), limit)
        return await self._db.read(lambda db: CONVERSATIONS.select(db, UNNAMED, *values))


class SqliteMessages:
    """Implements ``repositories.MessageRepository`` on SQLite."""

    def __init__(self, database: Database, quota: Quota) -> None:
        self._db = database
        self._quota = quota

    async def append(self, user_id: str, message: MessageRecord, *, at_head: bool = False) -> MessageRecord:
        def work(db: sqlite3.Connection) -> MessageRecord:
            conversation = owned(db, user_id, message.conversation_id)
            if stored := MESSAGES.find(db, "id = ?", message.id):
                return same_message(stored, message)
            placed = _replace(message, parent_id=conversation.head_id) if at_head else message
            return self._add(db, conversation, [placed])

        return await self._db.write(work)

    async def append_all(self, user_id: str, messages: Sequence[MessageRecord], *, at_head: bool = False) -> None:
        def work(db: sqlite3.Connection) -> None:
            conversation = owned(db, user_id, messages[0].conversation_id)
            if any(MESSAGES.has(db, message.id) for message in messages):
                raise taken(MessageRecord, "id")
            self._add(db, conversation, below(conversation.head_id, messages) if at_head else messages)

        await self._db.write(work)

    def _add(
        self, db: sqlite3.Connection, conversation: ConversationRecord, messages: Sequence[MessageRecord]
    ) -> MessageRecord:
        """Add messages below their parents, and count them. Returns the last one as stored."""
        known: set[str | None] = {None, conversation.head_id}
        size = 0
        for sequence, message in enumerate(messages, conversation.message_count + 1):
            if message.parent_id not in known:
                _message(db, conversation.id, message.parent_id or "", param="parent_id")
            placed = _replace(message, sequence=sequence)
            size += MESSAGES.insert(db, placed)
            known.add(placed.id)
        grown = _replace(
            conversation,
            head_id=placed.id,
            message_count=placed.sequence,
            message_bytes=conversation.message_bytes + size,
            updated_at=now(),
        )
        CONVERSATIONS.replace(db, grown)
        add_within(db, conversation.user_id, Amounts(messages=len(messages), bytes=size), self._quota)
        return placed

    async def save(
        self, user_id: str, conversation_id: str, message_id: str, progress: AnswerProgress
    ) -> MessageRecord:
        def work(db: sqlite3.Connection) -> MessageRecord:
            conversation = owned(db, user_id, conversation_id)
            saved = with_progress(_message(db, conversation_id, message_id), progress, now())
            # An answer that was begun is never cut by a quota.
            count_bytes(db, conversation, MESSAGES.resize(db, saved))
            return saved

        return await self._db.write(work)

    async def empty(self, user_id: str, conversation_id: str, message_ids: Sequence[str]) -> None:
        def work(db: sqlite3.Connection) -> None:
            conversation = owned(db, user_id, conversation_id)
            found = [
                MESSAGES.find(db, "id = ? AND conversation_id = ?", own, conversation_id) for own in message_ids
            ]
            grown = sum(MESSAGES.resize(db, emptied(message, now())) for message in found if message is not None)
            count_bytes(db, conversation, grown)

        await self._db.write(work, erases=True)

    async def get(self, user_id: str, conversation_id: str, message_id: str) -> MessageRecord:
        def work(db: sqlite3.Connection) -> MessageRecord:
            owned(db, user_id, conversation_id)
            return _message(db, conversation_id, message_id)

        return await self._db.read(work)

    async def page(
        self,
        user_id: str,
        conversation_id: str,
        *,
        limit: int,
        cursor: str | None = None,
        newest_first: bool = False,
    ) -> Page[MessageRecord]:
        start = sequence_of(cursor)
        if start is None:
            start = sys.maxsize if newest_first else 0
        clauses = NEWEST_FIRST if newest_first else OLDEST_FIRST
        budget = Budget(limit, PAGE_BYTES)

        def work(db: sqlite3.Connection) -> list[MessageRecord]:
            owned(db, user_id, conversation_id)
            values = (conversation_id, start, limit + 1)
            return MESSAGES.select_within(db, clauses, *values, admits=budget.admits)

        return page_within(await self._db.read(work), budget, lambda message: str(message.sequence))

    async def history(
        self, user_id: str, conversation_id: str, *, message_id: str | None = None, limit: int | None = None
    ) -> list[MessageRecord]:
        def work(db: sqlite3.Connection) -> list[MessageRecord]:
            conversation = owned(db, user_id, conversation_id)
            if message_id is not None:
                _message(db, conversation_id, message_id)
            values = (message_id or conversation.head_id, limit or sys.maxsize)
            return MESSAGES.select_within(db, PATH, *values, admits=budget.admits)

        budget = Budget(sys.maxsize, PATH_BYTES)
        path = await self._db.read(work)
        if budget.exceeded:
            raise too_long()
        return sorted(path, key=lambda message: message.sequence)

    async def end_stale_streams(self, before: datetime) -> int:
        limit = milliseconds(before)

        def work(db: sqlite3.Connection) -> int:
            stale = MESSAGES.select(db, STALE, limit)
            for message in stale:
                MESSAGES.replace(db, _replace(message, status="partial"))
            return len(stale)

        return await self._db.write(work)

    async def conversation_ids(self, *, after: str, limit: int) -> list[str]:
        rows = await self._db.read(lambda db: db.execute(CONVERSATION_IDS, (after, limit)).fetchall())
        return [conversation_id for (conversation_id,) in rows if conversation_id is not None]

    async def delete_orphans(self, conversation_ids: Sequence[str]) -> int:
        def work(db: sqlite3.Connection) -> int:
            return sum(db.execute(_ORPHANS, (one, one)).rowcount for one in conversation_ids)

        return await self._db.write(work, erases=True)


def _may_hold_text(user_id: str) -> bool:
    """Return False for the markers of imports, which nobody owns: each import makes one and deletes it."""
    return user_id != NOBODY


def _message(
    db: sqlite3.Connection, conversation_id: str, message_id: str, *, param: str | None = None
) -> MessageRecord:
    found = MESSAGES.find(db, "id = ? AND conversation_id = ?", message_id, conversation_id)
    if found is None:
        raise missing(MessageRecord, param=param)
    return found
