"""Stored answers of idempotent requests, on SQLite."""

import sqlite3
from datetime import datetime

import msgspec

from jan.storage.idempotent_answers import LONG_AGO, IdempotentAnswer, replaces
from jan.storage.records import milliseconds
from jan.storage.sqlite.database import Database
from jan.storage.sqlite.tables import ANSWERS


class SqliteIdempotentAnswers:
    """Implements ``idempotent_answers.IdempotentAnswers`` on SQLite."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def begin(self, request: IdempotentAnswer, *, abandoned_before: datetime) -> IdempotentAnswer:
        def work(db: sqlite3.Connection) -> IdempotentAnswer:
            stored = ANSWERS.find(db, "id = ?", request.id)
            if stored is None:
                ANSWERS.insert(db, request)
                return request
            successor = replaces(stored, request, abandoned_before)
            return stored if successor is None else ANSWERS.replace(db, successor)

        return await self._db.write(work)

    async def renew(self, request: IdempotentAnswer, at: datetime) -> None:
        def work(db: sqlite3.Connection) -> None:
            stored = ANSWERS.find(db, "id = ?", request.id)
            if stored is not None and stored.attempt == request.attempt and stored.answer is None:
                ANSWERS.replace(db, msgspec.structs.replace(stored, begun_at=at))

        await self._db.write(work)

    async def finish(self, request: IdempotentAnswer) -> None:
        await self._replace(request, request)

    async def release(self, request: IdempotentAnswer) -> None:
        await self._replace(request, msgspec.structs.replace(request, begun_at=LONG_AGO))

    async def _replace(self, request: IdempotentAnswer, successor: IdempotentAnswer) -> None:
        def work(db: sqlite3.Connection) -> None:
            if _is_attempt(db, request):
                ANSWERS.replace(db, successor)

        await self._db.write(work)

    async def forget(self, request: IdempotentAnswer) -> None:
        def work(db: sqlite3.Connection) -> None:
            if _is_attempt(db, request):
                db.execute("DELETE FROM given_answers WHERE id = ?", (request.id,))

        await self._db.write(work)

    async def purge(self, before: datetime) -> int:
        return await self._db.purge("given_answers", "first_at < ?", milliseconds(before))

    async def forget_about(self, conversation_id: str) -> None:
        await self._db.purge("given_answers", "about = ?", conversation_id)


def _is_attempt(db: sqlite3.Connection, request: IdempotentAnswer) -> bool:
    stored = ANSWERS.find(db, "id = ?", request.id)
    return stored is not None and stored.attempt == request.attempt
