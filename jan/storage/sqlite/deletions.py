"""The deletion of users on SQLite."""

import sqlite3
from datetime import datetime

from jan.storage.deletions import AT_ONCE, blanked
from jan.storage.records import User
from jan.storage.sqlite.database import Database
from jan.storage.sqlite.tables import USERS
from jan.storage.sqlite.users import user_of

_CONVERSATIONS = "SELECT id FROM conversations WHERE user_id = ? LIMIT ?"
_BELONGINGS = ("api_keys", "sessions", "presets", "usage", "given_answers", "queued_answers", "shares", "holdings")


class SqliteDeletions:
    """Implements ``deletions.Deletions`` on SQLite. Each call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def mark(self, user_id: str, at: datetime) -> None:
        await self._db.write(lambda db: USERS.replace(db, blanked(user_of(db, user_id), at)), erases=True)

    async def marked(self, limit: int) -> list[User]:
        clauses = "WHERE deleted_at IS NOT NULL ORDER BY deleted_at LIMIT ?"
        return await self._db.read(lambda db: USERS.select(db, clauses, limit))

    async def erase(self, user_id: str) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            found = db.execute(_CONVERSATIONS, (user_id, AT_ONCE)).fetchall()
            db.executemany("DELETE FROM messages WHERE conversation_id = ?", found)
            db.executemany("DELETE FROM conversations WHERE id = ?", found)
            if not found:
                for table in _BELONGINGS:
                    db.execute(f"DELETE FROM {table} WHERE user_id = ?", (user_id,))
            return bool(found)

        return await self._db.write(work, erases=True)

    async def remove(self, user_id: str) -> None:
        await self._db.purge("users", "deleted_at IS NOT NULL AND id = ?", user_id)
