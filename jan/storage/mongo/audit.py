"""The audit on MongoDB."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from jan.errors import Conflict
from jan.storage.audit import ALL_ENTRIES, AuditEntry, AuditFilter, AuditMark, ids_of, mark_id
from jan.storage.mongo.client import Collection, Connection
from jan.storage.mongo.documents import encode
from jan.storage.paging import page_of, position_of
from jan.storage.records import Page, Record, milliseconds
from jan.storage.shared_rules import taken

_BATCH = 500


class FiledEntry(Record, frozen=True, kw_only=True):
    """Where an entry is in lists, and when it was made."""

    at: datetime
    position: str


class MongoAuditLog:
    """Implements ``audit.AuditLog`` on MongoDB.

    Entries are stored before the head that counts them: a crash between leaves entries that no head counts yet.
    """

    def __init__(self, connection: Connection) -> None:
        self.records = Collection(connection, "audit", AuditEntry)
        self.filed = Collection(connection, "audit", FiledEntry)
        self.marked = Collection(connection, "audit_marks", AuditMark)

    async def append(self, entries: Sequence[AuditEntry], head: AuditMark) -> None:
        try:
            await self.records.insert(*entries)
        except Conflict:
            await self._insert_lacking(entries)
        await self._put(head)

    async def _insert_lacking(self, entries: Sequence[AuditEntry]) -> None:
        """Add the entries that an attempt with an unknown end left out. Raises Conflict for another's id."""
        where = {"_id": {"$in": [entry.id for entry in entries]}}
        stored = {entry.id: entry for entry in await self.records.find(where, sort=[("_id", 1)], limit=0)}
        if any(stored.get(entry.id, entry) != entry for entry in entries):
            raise taken(AuditEntry, "id")
        await self.records.insert(*(entry for entry in entries if entry.id not in stored))

    async def page(
        self, *, limit: int, cursor: str | None = None, wanted: AuditFilter = ALL_ENTRIES
    ) -> Page[AuditEntry]:
        named = {name: getattr(wanted, name) for name in wanted.__struct_fields__}
        where: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        where["position"] = {"$lt": position_of(cursor) or "~"}
        found = await self.records.find(where, sort=[("position", -1)], limit=limit + 1)
        return page_of(found, limit, lambda entry: entry.position)

    async def oldest(self, before: datetime, limit: int) -> list[AuditEntry]:
        where = {"position": {"$lt": f"{milliseconds(before):012x}"}}
        return await self.records.find(where, sort=[("position", 1)], limit=limit)

    async def follow(self, chain: str, *, after: int, limit: int) -> list[AuditEntry]:
        first, last = ids_of(chain, after)
        return await self.records.find({"_id": {"$gt": first, "$lte": last}}, sort=[("_id", 1)], limit=limit)

    async def heads(self, limit: int) -> list[AuditMark]:
        return await self.marked.find({"kind": "head"}, sort=[("at", -1)], limit=limit)

    async def marks(self, chain: str) -> list[AuditMark]:
        ids = [mark_id(chain, "head"), mark_id(chain, "cut")]
        return await self.marked.find({"_id": {"$in": ids}}, sort=[("_id", 1)], limit=len(ids))

    async def misfiled(self) -> str | None:
        after = ""
        while batch := await self.filed.find({"_id": {"$gt": after}}, sort=[("_id", 1)], limit=_BATCH):
            for entry in batch:
                if entry.position != f"{milliseconds(entry.at):012x}.{entry.id}":
                    return entry.id
            after = batch[-1].id
        return None

    async def cut(self, mark: AuditMark) -> int:
        await self._put(mark)
        first, last = ids_of(mark.chain, 0, mark.sequence)
        return await self.records.delete({"_id": {"$gt": first, "$lte": last}})

    async def _put(self, mark: AuditMark) -> None:
        """Store a mark, unless one is there that stands further on."""
        before = {"_id": mark.id, "sequence": {"$lt": mark.sequence}}
        change = {"$set": {name: value for name, value in encode(mark).items() if name != "_id"}}
        if await self.marked.update_one(before, change):
            return
        try:
            await self.marked.insert(mark)
        except Conflict:  # it stands there, or further on, or another process has just inserted an earlier one
            await self.marked.update_one(before, change)
