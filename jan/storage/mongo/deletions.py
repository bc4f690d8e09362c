"""The deletion of users on MongoDB."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from jan.errors import NotFound
from jan.storage.deletions import AT_ONCE, blanked
from jan.storage.mongo.client import Collection
from jan.storage.mongo.conversations import MongoConversations
from jan.storage.mongo.documents import encode
from jan.storage.mongo.holdings import MongoHoldings
from jan.storage.mongo.users import MongoUsers
from jan.storage.records import User

_MARKED = {"$gt": datetime(1970, 1, 1, tzinfo=UTC)}


class MongoDeletions:
    """Implements ``deletions.Deletions`` on MongoDB. ``belongings`` have a ``user_id`` each."""

    def __init__(
        self,
        users: MongoUsers,
        conversations: MongoConversations,
        holdings: MongoHoldings,
        *belongings: Collection[Any],
    ) -> None:
        self._users = users
        self._conversations = conversations
        self._holdings = holdings
        self._belongings = belongings

    async def mark(self, user_id: str, at: datetime) -> None:
        mark = encode(blanked(await self._users.get(user_id), at))
        fields = {name: value for name, value in mark.items() if name != "_id"}
        await self._users.records.update_one({"_id": user_id}, {"$set": fields})

    async def marked(self, limit: int) -> list[User]:
        return await self._users.records.find({"deleted_at": _MARKED}, sort=[("deleted_at", 1)], limit=limit)

    async def erase(self, user_id: str) -> bool:
        found = await self._conversations.page(user_id, limit=AT_ONCE)
        for conversation in found.items:
            with suppress(NotFound):  # somebody else deletes too
                await self._conversations.delete(user_id, conversation.id)
        if found.items:
            return True
        for collection in self._belongings:
            await collection.delete({"user_id": user_id})
        await self._holdings.forget(user_id)
        return False

    async def remove(self, user_id: str) -> None:
        await self._users.records.delete({"_id": user_id, "deleted_at": _MARKED})
