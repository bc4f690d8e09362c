"""The embedded store: all repositories on one SQLite file."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import TypeVar

from jan.schema.limits import UNLIMITED, Quota
from jan.storage.records import Record
from jan.storage.sqlite.accounting import SqliteCounters, SqliteUsageLog
from jan.storage.sqlite.audit import SqliteAuditLog
from jan.storage.sqlite.completion_records import SqliteCompletions
from jan.storage.sqlite.conversations import SqliteConversations, SqliteMessages
from jan.storage.sqlite.database import Database
from jan.storage.sqlite.deletions import SqliteDeletions
from jan.storage.sqlite.folder_counts import SqliteFolders
from jan.storage.sqlite.holdings import SqliteHoldings
from jan.storage.sqlite.idempotent_answers import SqliteIdempotentAnswers
from jan.storage.sqlite.presets import SqlitePresets
from jan.storage.sqlite.queued_answers import SqliteQueuedAnswers
from jan.storage.sqlite.shares import SqliteShares
from jan.storage.sqlite.tables import ARCHIVED_TABLES, Table
from jan.storage.sqlite.text_search import SqliteTextSearch
from jan.storage.sqlite.users import SqliteKeys, SqliteSessions, SqliteUsers

R = TypeVar("R", bound=Record)


class SqliteArchive:
    """Implements ``archive.Archive`` on SQLite."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def count(self, kind: type[Record]) -> int:
        sql = f"SELECT count(*) FROM {_table(kind).name}"
        count: int = await self._db.read(lambda db: db.execute(sql).fetchone()[0])
        return count

    async def scan(self, kind: type[R], *, after: str, limit: int) -> list[R]:
        clauses = "WHERE id > ? ORDER BY id LIMIT ?"
        return await self._db.read(lambda db: _table(kind).select(db, clauses, after, limit))

    async def matching(self, kind: type[R], ids: Sequence[str]) -> list[R]:
        clauses = f"WHERE id IN ({', '.join('?' * len(ids))})"
        return await self._db.read(lambda db: _table(kind).select(db, clauses, *ids))

    async def insert(self, kind: type[R], records: Sequence[R]) -> None:
        table = _table(kind)

        def work(db: sqlite3.Connection) -> None:
            for record in records:
                table.insert(db, record)

        await self._db.write(work)

    async def remove(self, kind: type[Record], record_id: str) -> bool:
        sql = f"DELETE FROM {_table(kind).name} WHERE id = ?"
        return await self._db.write(lambda db: db.execute(sql, (record_id,)).rowcount > 0)

    async def load(self, batches: Iterable[tuple[type[Record], Sequence[Record]]]) -> int:
        def work(db: sqlite3.Connection) -> int:
            added = 0
            for kind, records in batches:
                table = _table(kind)
                lacking = [record for record in records if table.find(db, "id = ?", record.id) is None]
                for record in lacking:
                    table.insert(db, record)
                added += len(lacking)
            return added

        return await self._db.write(work)

    async def unfinished(self) -> bool:
        return False  # a transaction is undone


def _table(kind: type[R]) -> Table[R]:
    return next(table for table in ARCHIVED_TABLES if table.kind is kind)


class SqliteStore:
    """Implements ``repositories.Store`` in a file.

    Several processes may open the file. A write waits up to ``timeout`` seconds for the others.
    """

    def __init__(self, path: str, *, timeout: float = 5.0, quota: Quota = UNLIMITED) -> None:
        self._db = Database(path, timeout)
        self.users = SqliteUsers(self._db)
        self.keys = SqliteKeys(self._db, quota)
        self.sessions = SqliteSessions(self._db)
        self.conversations = SqliteConversations(self._db, quota)
        self.messages = SqliteMessages(self._db, quota)
        self.folders = SqliteFolders(self._db)
        self.completions = SqliteCompletions(self._db)
        self.shares = SqliteShares(self._db, quota)
        self.queued_answers = SqliteQueuedAnswers(self._db)
        self.presets = SqlitePresets(self._db, quota)
        self.idempotent_answers = SqliteIdempotentAnswers(self._db)
        self.counters = SqliteCounters(self._db)
        self.usage = SqliteUsageLog(self._db)
        self.audit = SqliteAuditLog(self._db)
        self.holdings = SqliteHoldings(self._db, quota)
        self.deletions = SqliteDeletions(self._db)
        self.search = SqliteTextSearch(self._db)
        self.archive = SqliteArchive(self._db)

    async def open(self) -> None:
        """Open the file and migrate it. Also raises ConfigurationError if it can't be made or is another
        program's."""
        await self._db.open()

    async def close(self) -> None:
        """Finish pending writes and close the file."""
        await self._db.close()

    async def ping(self) -> None:
        """Read from the file, which raises Unavailable if that fails."""
        await self._db.read(lambda db: db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone())
