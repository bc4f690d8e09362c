"""Conversations that are shared by a link, on SQLite."""

import sqlite3
from collections import Counter
from datetime import datetime

import msgspec

from jan.schema.limits import Quota
from jan.storage.holdings import Amounts
from jan.storage.paging import id_of, page_of
from jan.storage.records import Page, milliseconds
from jan.storage.share_records import ShareRecord
from jan.storage.shared_rules import missing
from jan.storage.sqlite.conversation_rows import owned
from jan.storage.sqlite.database import Database
from jan.storage.sqlite.holdings import add_within, change
from jan.storage.sqlite.tables import SHARES

# Shares that one call of ``purge`` removes at most.
_AT_ONCE = 1000


class SqliteShares:
    """Implements ``share_records.ShareRepository`` on SQLite."""

    def __init__(self, database: Database, quota: Quota) -> None:
        self._db = database
        self._quota = quota

    async def create(self, share: ShareRecord) -> None:
        def work(db: sqlite3.Connection) -> None:
            owned(db, share.user_id, share.conversation_id)
            SHARES.insert(db, share)
            add_within(db, share.user_id, Amounts(shares=1), self._quota)

        await self._db.write(work)

    async def find(self, share_id: str) -> ShareRecord | None:
        return await self._db.read(lambda db: SHARES.find(db, "id = ?", share_id))

    async def find_by_hash(self, share_hash: str) -> ShareRecord | None:
        return await self._db.read(lambda db: SHARES.find(db, "hash = ?", share_hash))

    async def page(
        self, user_id: str, *, conversation_id: str | None = None, limit: int, cursor: str | None = None
    ) -> Page[ShareRecord]:
        values: list[str | int] = [user_id, id_of(cursor)]
        among = ""
        if conversation_id is not None:
            among = "AND conversation_id = ?"
            values.append(conversation_id)
        clauses = f"WHERE user_id = ? AND id > ? {among} ORDER BY id LIMIT ?"
        found = await self._db.read(lambda db: SHARES.select(db, clauses, *values, limit + 1))
        return page_of(found, limit, lambda share: share.id)

    async def remove(self, user_id: str, share_id: str) -> None:
        def work(db: sqlite3.Connection) -> None:
            if not db.execute("DELETE FROM shares WHERE id = ? AND user_id = ?", (share_id, user_id)).rowcount:
                raise missing(ShareRecord)
            change(db, user_id, Amounts(shares=-1))

        await self._db.write(work, erases=True)

    async def blank_titles(self, conversation_id: str) -> None:
        def work(db: sqlite3.Connection) -> None:
            for share in SHARES.select(db, "WHERE conversation_id = ?", conversation_id):
                SHARES.replace(db, msgspec.structs.replace(share, title=""))

        await self._db.write(work, erases=True)

    async def purge(self, before: datetime) -> int:
        clauses, at = "WHERE expires_at < ? LIMIT ?", milliseconds(before)

        def work(db: sqlite3.Connection) -> int:
            ended = SHARES.select(db, clauses, at, _AT_ONCE)
            db.executemany("DELETE FROM shares WHERE id = ?", [(share.id,) for share in ended])
            for user_id, count in Counter(share.user_id for share in ended).items():
                change(db, user_id, Amounts(shares=-count))
            return len(ended)

        found = await self._db.read(lambda db: SHARES.select(db, clauses, at, 1))
        return await self._db.write(work, erases=True) if found else 0
