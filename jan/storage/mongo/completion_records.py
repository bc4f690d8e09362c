"""Stored chat completions on MongoDB."""

from functools import partial

import msgspec

from jan.schema.stored_items import JsonObject
from jan.storage.mongo.documents import encode
from jan.storage.mongo.messages import MongoMessages, admits
from jan.storage.paging import PAGE_BYTES, Budget, page_within, size_of
from jan.storage.records import MessageRecord, Page
from jan.storage.shared_rules import missing


class MongoCompletions:
    """Implements ``completion_records.CompletionRepository`` on MongoDB."""

    def __init__(self, messages: MongoMessages) -> None:
        self._messages = messages

    async def page(
        self, user_id: str, *, limit: int, after: str | None = None, newest_first: bool = False
    ) -> Page[MessageRecord]:
        where: dict[str, object] = {"completion_of": user_id}
        if after is not None:
            where["_id"] = {"$lt" if newest_first else "$gt": after}
        budget = Budget(limit, PAGE_BYTES)
        found = await self._messages.records.find_within(
            where, sort=[("_id", -1 if newest_first else 1)], limit=limit + 1, admits=partial(admits, budget)
        )
        return page_within(found, budget, lambda message: message.id)

    async def describe(self, user_id: str, message_id: str, response: JsonObject) -> MessageRecord:
        # A message whose content is deleted meanwhile is no completion any more.
        where = {"_id": message_id, "completion_of": user_id}
        stored = await self._messages.records.find_one(where)
        if stored is None:
            raise missing(MessageRecord)
        described = msgspec.structs.replace(stored, response=response)
        if not await self._messages.records.update_one(
            where, {"$set": {"response": encode(described)["response"]}}
        ):
            raise missing(MessageRecord)
        await self._messages.grow(user_id, stored.conversation_id, size_of(described) - size_of(stored))
        return described
