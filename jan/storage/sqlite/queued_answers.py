"""The queue of answers that are made in the background, on SQLite. Each call is one transaction."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from jan.storage.queued_answers import (
    NOT_HELD,
    QueuedAnswer,
    QueueLength,
    QueueRoom,
    held_by,
    let_go,
    lost,
    with_content,
)
from jan.storage.records import MessageRecord, milliseconds
from jan.storage.shared_rules import missing
from jan.storage.sqlite.conversation_rows import count_bytes
from jan.storage.sqlite.database import Database
from jan.storage.sqlite.tables import CONVERSATIONS, MESSAGES, QUEUED_ANSWERS

# In the order of ids, because the queue is short and must not be sorted. User ids have no spaces.
_FREE = "WHERE id > '' AND held_until <= ? AND instr(?, ' ' || user_id || ' ') = 0 ORDER BY id LIMIT 1"
_HELD = "id = ? AND holder = ?"


class SqliteQueuedAnswers:
    """Implements ``queued_answers.QueuedAnswers`` on SQLite."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def add(self, answer: QueuedAnswer, room: QueueRoom) -> None:
        def work(db: sqlite3.Connection) -> None:
            room.check(_count(db, "holder >= ''"), _count(db, "user_id = ?", answer.user_id))
            QUEUED_ANSWERS.insert(db, answer)

        await self._db.write(work)

    async def find(self, answer_id: str) -> QueuedAnswer | None:
        return await self._db.read(lambda db: QUEUED_ANSWERS.find(db, "id = ?", answer_id))

    async def claim(
        self, holder: str, until: datetime, at: datetime, not_of: Sequence[str] = ()
    ) -> QueuedAnswer | None:
        wanted = (milliseconds(at), f" {' '.join(not_of)} ")

        def work(db: sqlite3.Connection) -> QueuedAnswer | None:
            found = QUEUED_ANSWERS.select(db, _FREE, *wanted)
            return QUEUED_ANSWERS.replace(db, held_by(found[0], holder, until)) if found else None

        if not await self._db.read(lambda db: QUEUED_ANSWERS.select(db, _FREE, *wanted)):
            return None
        return await self._db.write(work)

    async def seize(self, answer_id: str, holder: str, until: datetime) -> QueuedAnswer | None:
        def work(db: sqlite3.Connection) -> QueuedAnswer | None:
            found = QUEUED_ANSWERS.find(db, "id = ?", answer_id)
            return None if found is None else QUEUED_ANSWERS.replace(db, held_by(found, holder, until))

        return await self._db.write(work)

    async def extend(self, holder: str, until: datetime) -> list[str]:
        def work(db: sqlite3.Connection) -> list[str]:
            found = QUEUED_ANSWERS.select(db, "WHERE holder = ?", holder)
            for answer in found:
                QUEUED_ANSWERS.replace(db, held_by(answer, holder, until))
            return [answer.id for answer in found]

        return await self._db.write(work)

    async def release(self, answer: QueuedAnswer, until: datetime = NOT_HELD) -> None:
        def work(db: sqlite3.Connection) -> None:
            if QUEUED_ANSWERS.find(db, _HELD, answer.id, answer.holder) is not None:
                QUEUED_ANSWERS.replace(db, let_go(answer, until))

        await self._db.write(work)

    async def remove(self, answer_id: str, holder: str) -> bool:
        sql = f"DELETE FROM queued_answers WHERE {_HELD}"
        return await self._db.write(lambda db: db.execute(sql, (answer_id, holder)).rowcount > 0, erases=True)

    async def save(self, holder: str, message: MessageRecord) -> None:
        def work(db: sqlite3.Connection) -> None:
            stored = MESSAGES.find(db, "id = ?", message.id)
            conversation = None if stored is None else CONVERSATIONS.find(db, "id = ?", stored.conversation_id)
            if stored is None or conversation is None:
                raise missing(MessageRecord)
            if QUEUED_ANSWERS.find(db, _HELD, message.id, holder) is None:
                raise lost(message.id)
            # An answer that was begun is never cut by a quota.
            count_bytes(db, conversation, MESSAGES.resize(db, with_content(stored, message)))

        await self._db.write(work)

    async def length(self) -> QueueLength:
        return await self._db.read(lambda db: QueueLength(_count(db, "holder >= ''"), _count(db, "holder > ''")))


def _count(db: sqlite3.Connection, where: str, *values: str) -> int:
    [count] = db.execute(f"SELECT count(*) FROM queued_answers WHERE {where}", values).fetchone()
    return int(count)
