"""Conversations that are shared by a link, on MongoDB."""

from datetime import datetime
from functools import partial

from jan.storage.holdings import Amounts
from jan.storage.mongo.client import Collection, Connection
from jan.storage.mongo.conversations import MongoConversations
from jan.storage.mongo.holdings import MongoHoldings
from jan.storage.paging import id_of, page_of
from jan.storage.records import Page
from jan.storage.share_records import ShareRecord
from jan.storage.shared_rules import missing

_BY_ID = [("_id", 1)]
# Shares that one call of ``purge`` removes at most.
_AT_ONCE = 1000


class MongoShares:
    """Implements ``share_records.ShareRepository`` on MongoDB."""

    def __init__(self, connection: Connection, conversations: MongoConversations, holdings: MongoHoldings) -> None:
        self.records = Collection(connection, "shares", ShareRecord)
        self._conversations = conversations
        self._holdings = holdings

    async def create(self, share: ShareRecord) -> None:
        await self._conversations.get(share.user_id, share.conversation_id)
        stored = partial(self.records.has, share.id)
        async with self._holdings.adding(share.user_id, Amounts(shares=1), stored):
            await self.records.insert(share)

    async def find(self, share_id: str) -> ShareRecord | None:
        return await self.records.find_one({"_id": share_id})

    async def find_by_hash(self, share_hash: str) -> ShareRecord | None:
        return await self.records.find_one({"hash": share_hash})

    async def page(
        self, user_id: str, *, conversation_id: str | None = None, limit: int, cursor: str | None = None
    ) -> Page[ShareRecord]:
        where: dict[str, object] = {"user_id": user_id, "_id": {"$gt": id_of(cursor)}}
        if conversation_id is not None:
            where["conversation_id"] = conversation_id
        found = await self.records.find(where, sort=_BY_ID, limit=limit + 1)
        return page_of(found, limit, lambda share: share.id)

    async def remove(self, user_id: str, share_id: str) -> None:
        if await self.records.take({"_id": share_id, "user_id": user_id}) is None:
            raise missing(ShareRecord)
        await self._holdings.change(user_id, Amounts(shares=-1))

    async def blank_titles(self, conversation_id: str) -> None:
        await self.records.update_many({"conversation_id": conversation_id}, {"$set": {"title": ""}})

    async def purge(self, before: datetime) -> int:
        removed = 0
        for share in await self.records.find({"expires_at": {"$lt": before}}, sort=_BY_ID, limit=_AT_ONCE):
            # Another process may remove it too, and it counts once.
            if await self.records.take({"_id": share.id}) is not None:
                await self._holdings.change(share.user_id, Amounts(shares=-1))
                removed += 1
        return removed
