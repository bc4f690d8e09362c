"""Folders of conversations on SQLite."""

import sqlite3

from jan.storage.conversation_lists import EVERYTHING, ListFilter
from jan.storage.folder_counts import FolderCount
from jan.storage.paging import folder_of, page_of
from jan.storage.records import Page
from jan.storage.sqlite.conversation_rows import filtered
from jan.storage.sqlite.database import Database

# Reads the range of the owner in the index, in order.
_COUNTED = """SELECT folder, count(*) FROM conversations WHERE user_id = ? AND folder > ? {}
    GROUP BY folder ORDER BY folder LIMIT ?"""
_MOVED = """UPDATE conversations SET folder = ?, doc = json_set(doc, '$.folder', ?)
    WHERE user_id = ? AND folder = ?"""


class SqliteFolders:
    """Implements ``folder_counts.FolderRepository`` on SQLite."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def page(
        self, user_id: str, *, limit: int, cursor: str | None = None, among: ListFilter = EVERYTHING
    ) -> Page[FolderCount]:
        more, named = filtered(among)
        sql, values = _COUNTED.format(more), (user_id, folder_of(cursor), *named, limit + 1)
        rows = await self._db.read(lambda db: db.execute(sql, values).fetchall())
        return page_of([FolderCount(name=name, count=count) for name, count in rows], limit, lambda one: one.name)

    async def move(self, user_id: str, folder: str, to: str) -> int:
        def work(db: sqlite3.Connection) -> int:
            return db.execute(_MOVED, (to, to, user_id, folder)).rowcount

        return await self._db.write(work, erases=True)
