"""Conversations and their lists on MongoDB."""

import re
from collections.abc import Sequence
from datetime import datetime
from functools import partial

import msgspec

from jan.storage.conversation_lists import EVERYTHING, ListFilter
from jan.storage.folded_text import fold
from jan.storage.holdings import Amounts, amounts_of
from jan.storage.mongo.client import Collection, Connection, Filter
from jan.storage.mongo.documents import encode
from jan.storage.mongo.holdings import MongoHoldings
from jan.storage.paging import page_of, position_at, position_of
from jan.storage.queued_answers import QueuedAnswer
from jan.storage.records import ConversationChanges, ConversationRecord, MessageRecord, Page, now, origin_key
from jan.storage.share_records import ShareRecord
from jan.storage.shared_rules import apply, missing

BY_CHANGE = [("position", -1)]


def in_list(user_id: str, before: str | None, among: ListFilter) -> Filter:
    """Match the user's conversations after a position. Reads one range of the index and tests titles on its
    keys."""
    where: dict[str, object] = {"user_id": user_id}
    if before is not None:
        where["position"] = {"$lt": before}
    if among.title:
        where["title_folded"] = {"$regex": re.escape(fold(among.title))}
    # Those that earlier versions wrote have none of these fields.
    for name, flag in (("pinned", among.pinned), ("archived", among.archived)):
        if flag is not None:
            where[name] = True if flag else {"$ne": True}
    if among.folder is not None:
        where["folder"] = among.folder or {"$in": ["", None]}
    return where


class MongoConversations:
    """Implements ``repositories.ConversationRepository`` on MongoDB."""

    def __init__(self, connection: Connection, holdings: MongoHoldings) -> None:
        self.records = Collection(connection, "conversations", ConversationRecord)
        self._messages = Collection(connection, "messages", MessageRecord)
        self._queued = Collection(connection, "queued_answers", QueuedAnswer)
        self._shares = Collection(connection, "shares", ShareRecord)
        self._holdings = holdings

    async def create(self, conversation: ConversationRecord) -> None:
        stored = partial(self.records.has, conversation.id)
        async with self._holdings.adding(conversation.user_id, amounts_of(conversation), stored):
            await self.records.insert(conversation)

    async def get(self, user_id: str, conversation_id: str) -> ConversationRecord:
        found = await self.records.find_one({"_id": conversation_id, "user_id": user_id})
        if found is None:
            raise missing(ConversationRecord)
        return found

    async def known_origins(self, user_id: str, origins: Sequence[str]) -> set[str]:
        keys = [origin_key(user_id, one) for one in origins]
        where, order = {"origin_key": {"$in": keys}}, [("origin_key", 1)]
        found = await self.records.find(where, sort=order, limit=0) if keys else []
        return {one.origin for one in found if one.origin is not None}

    async def page(
        self, user_id: str, *, limit: int, cursor: str | None = None, among: ListFilter = EVERYTHING
    ) -> Page[ConversationRecord]:
        where = in_list(user_id, position_of(cursor), among)
        found = await self.records.find(where, sort=BY_CHANGE, limit=limit + 1)
        return page_of(found, limit, lambda conversation: conversation.position)

    async def update(self, user_id: str, conversation_id: str, changes: ConversationChanges) -> ConversationRecord:
        found = await self.get(user_id, conversation_id)
        changed = msgspec.structs.replace(apply(found, changes), updated_at=now())
        # Set only the fields of this call: an append may be changing head and count at the same time.
        fields = encode(changes) | ({} if changes.only_sorts else moved(changed))
        if "title" in fields:
            fields["title_folded"] = fold(changed.title)
        if not await self.records.update_one({"_id": conversation_id, "user_id": user_id}, {"$set": fields}):
            raise missing(ConversationRecord)
        return await self.get(user_id, conversation_id)

    async def give_title(self, user_id: str, conversation_id: str, title: str) -> None:
        found = await self.get(user_id, conversation_id)
        titled = msgspec.structs.replace(found, title=title, updated_at=now())
        fields = {"title": title, "title_folded": fold(title), **moved(titled)}
        await self.records.update_one({"_id": found.id, "title": ""}, {"$set": fields})

    async def delete(self, user_id: str, conversation_id: str) -> None:
        await self.get(user_id, conversation_id)
        await self._queued.delete({"conversation_id": conversation_id})
        await self._messages.delete({"conversation_id": conversation_id})
        deleted = await self.records.take({"_id": conversation_id})
        if shares := await self._shares.delete({"conversation_id": conversation_id}):
            await self._holdings.change(user_id, Amounts(shares=-shares))
        # An append that ran between the two deletions left its message behind. A later append finds no
        # conversation.
        await self._messages.delete({"conversation_id": conversation_id})
        if deleted is not None:  # by this call, and not by another one at the same time
            await self._holdings.change(user_id, amounts_of(deleted).negative())

    async def unnamed(self, before: datetime, limit: int) -> list[ConversationRecord]:
        where = {"unnamed": True, "position": {"$lt": position_at(before)}}
        return await self.records.find(where, sort=[("position", 1)], limit=limit)


def moved(conversation: ConversationRecord) -> dict[str, object]:
    """Return the fields that move a conversation to the front of the list."""
    return {"updated_at": conversation.updated_at, "position": conversation.position}
