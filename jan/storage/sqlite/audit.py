"""The audit on SQLite."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from jan.storage.audit import ALL_ENTRIES, AuditEntry, AuditFilter, AuditMark, ids_of, mark_id
from jan.storage.paging import page_of, position_of
from jan.storage.records import Page, milliseconds
from jan.storage.shared_rules import taken
from jan.storage.sqlite.database import Database
from jan.storage.sqlite.tables import AUDIT, AUDIT_MARKS, Value

_POSITION = """printf('%012x.%s', CAST(round((julianday(json_extract(doc, '$.at')) - 2440587.5) * 86400000)
 AS INTEGER), id)"""
_MISFILED = f"""SELECT id FROM {AUDIT.name} WHERE id IS NOT json_extract(doc, '$.id')
 OR user_id IS NOT json_extract(doc, '$.user_id') OR actor IS NOT json_extract(doc, '$.actor')
 OR act IS NOT json_extract(doc, '$.act') OR position IS NOT {_POSITION} ORDER BY id LIMIT 1"""


class SqliteAuditLog:
    """Implements ``audit.AuditLog`` on SQLite."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def append(self, entries: Sequence[AuditEntry], head: AuditMark) -> None:
        def work(db: sqlite3.Connection) -> None:
            for entry in entries:
                _insert_once(db, entry)
            _put(db, head)

        await self._db.write(work)

    async def page(
        self, *, limit: int, cursor: str | None = None, wanted: AuditFilter = ALL_ENTRIES
    ) -> Page[AuditEntry]:
        before = position_of(cursor) or "~"
        named: dict[str, Value] = {name: getattr(wanted, name) for name in wanted.__struct_fields__}
        named = {name: value for name, value in named.items() if value is not None}
        conditions = "".join(f" AND {name} = ?" for name in named)
        clauses = f"WHERE position < ?{conditions} ORDER BY position DESC LIMIT ?"
        found = await self._db.read(lambda db: AUDIT.select(db, clauses, before, *named.values(), limit + 1))
        return page_of(found, limit, lambda entry: entry.position)

    async def oldest(self, before: datetime, limit: int) -> list[AuditEntry]:
        clauses, end = "WHERE position < ? ORDER BY position LIMIT ?", f"{milliseconds(before):012x}"
        return await self._db.read(lambda db: AUDIT.select(db, clauses, end, limit))

    async def follow(self, chain: str, *, after: int, limit: int) -> list[AuditEntry]:
        clauses = "WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"
        return await self._db.read(lambda db: AUDIT.select(db, clauses, *ids_of(chain, after), limit))

    async def heads(self, limit: int) -> list[AuditMark]:
        clauses = "WHERE kind = 'head' ORDER BY at DESC LIMIT ?"
        return await self._db.read(lambda db: AUDIT_MARKS.select(db, clauses, limit))

    async def marks(self, chain: str) -> list[AuditMark]:
        ids = (mark_id(chain, "head"), mark_id(chain, "cut"))
        return await self._db.read(lambda db: AUDIT_MARKS.select(db, "WHERE id IN (?, ?)", *ids))

    async def misfiled(self) -> str | None:
        found = await self._db.read(lambda db: db.execute(_MISFILED).fetchone())
        return None if found is None else str(found[0])

    async def cut(self, mark: AuditMark) -> int:
        def work(db: sqlite3.Connection) -> int:
            _put(db, mark)
            bounds = ids_of(mark.chain, 0, mark.sequence)
            return db.execute(f"DELETE FROM {AUDIT.name} WHERE id > ? AND id <= ?", bounds).rowcount

        return await self._db.write(work)


def _insert_once(db: sqlite3.Connection, entry: AuditEntry) -> None:
    stored = AUDIT.find(db, "id = ?", entry.id)
    if stored is None:
        AUDIT.insert(db, entry)
    elif stored != entry:
        raise taken(AuditEntry, "id")


def _put(db: sqlite3.Connection, mark: AuditMark) -> None:
    """Store a mark, unless one is there that stands further on."""
    stored = AUDIT_MARKS.find(db, "id = ?", mark.id)
    if stored is None:
        AUDIT_MARKS.insert(db, mark)
    elif stored.sequence < mark.sequence:
        AUDIT_MARKS.replace(db, mark)
