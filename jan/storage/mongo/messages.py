"""Messages on MongoDB: one document each, without transactions or growing arrays.

The unique index on (conversation, sequence) orders appends: a message takes the number after the newest one. If
two try the same number, one is refused and tries the next. A message is stored before its conversation's head and
count follow, so these may lag after a crash. The numbers never do.

Numbers have no gaps, so every list is a range with two ends. This stays fast even on servers that sort all matches
before they apply the limit.
"""

import asyncio
import random
import sys
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from weakref import WeakValueDictionary

import msgspec

from jan.errors import Conflict
from jan.storage.holdings import Amounts
from jan.storage.mongo.client import Collection, Connection
from jan.storage.mongo.conversations import MongoConversations, moved
from jan.storage.mongo.documents import UNSEARCHED, said
from jan.storage.mongo.failures import unavailable
from jan.storage.mongo.holdings import MongoHoldings
from jan.storage.paging import (
    PAGE_BYTES,
    PATH_BYTES,
    Budget,
    page_within,
    sequence_of,
    size_of,
    too_long,
)
from jan.storage.queued_answers import QueuedAnswer
from jan.storage.records import AnswerProgress, ConversationRecord, MessageRecord, Page, now
from jan.storage.shared_rules import below, emptied, missing, same_message, taken, with_progress
from jan.tasks import apart

_replace = msgspec.structs.replace
# Attempts to append a message while other processes append to the same conversation.
_ATTEMPTS = 60
# Messages that are read at once to find a path.
_BATCH = 200
# Messages that are looked at for each conversation that they name.
_NAMED_BY = 10
OLDEST_FIRST = [("sequence", 1)]
NEWEST_FIRST = [("sequence", -1)]


class MongoMessages:
    """Implements ``repositories.MessageRepository`` on MongoDB."""

    def __init__(self, connection: Connection, conversations: MongoConversations, holdings: MongoHoldings) -> None:
        self.records = Collection(connection, "messages", MessageRecord, unread=("grams",))
        self.indexed = Collection(connection, "messages", MessageRecord, durable=False)
        self._queued = Collection(connection, "queued_answers", QueuedAnswer)
        self._conversations = conversations
        self._holdings = holdings
        # By conversation: writers of this process wait here. The unique index orders writers of several processes.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def append(self, user_id: str, message: MessageRecord, *, at_head: bool = False) -> MessageRecord:
        lock = self._locks.setdefault(message.conversation_id, asyncio.Lock())
        async with lock:
            conversation = await self._conversations.get(user_id, message.conversation_id)
            if not at_head and message.parent_id not in (None, conversation.head_id):
                await self._require(conversation.id, message.parent_id or "", param="parent_id")
            more = Amounts(messages=1, bytes=size_of(message))
            async with self._holdings.adding(user_id, more, partial(self.records.has, message.id)):
                placed, is_new = await self._place(conversation, message, at_head)
                await self._advance(conversation, [placed], more.bytes if is_new else 0)
            if not is_new:
                await self._holdings.change(user_id, more.negative())
            return placed

    async def append_all(self, user_id: str, messages: Sequence[MessageRecord], *, at_head: bool = False) -> None:
        first = messages[0]
        lock = self._locks.setdefault(first.conversation_id, asyncio.Lock())
        async with lock:
            conversation = await self._conversations.get(user_id, first.conversation_id)
            if not at_head and first.parent_id not in (None, conversation.head_id):
                await self._require(conversation.id, first.parent_id or "", param="parent_id")
            size = await apart(len(messages), lambda: sum(map(size_of, messages)))
            more = Amounts(messages=len(messages), bytes=size)
            async with self._holdings.adding(user_id, more, _never):
                await self._advance(conversation, await self._place_all(conversation, messages, at_head), size)

    async def save(
        self, user_id: str, conversation_id: str, message_id: str, progress: AnswerProgress
    ) -> MessageRecord:
        at = now()
        stored = await self.get(user_id, conversation_id, message_id)
        saved = with_progress(stored, progress, at)
        if stored.status == "complete":
            return stored
        unfinished = {"_id": message_id, "status": {"$ne": "complete"}}
        change = said(progress)
        change["$set"]["updated_at"] = saved.updated_at
        if await self.records.update_one(unfinished, change):
            await self.grow(user_id, conversation_id, size_of(saved) - size_of(stored))
            return saved
        return with_progress(await self._require(conversation_id, message_id), progress, at)

    async def empty(self, user_id: str, conversation_id: str, message_ids: Sequence[str]) -> None:
        await self._conversations.get(user_id, conversation_id)
        for message_id in message_ids:
            where = {"_id": message_id, "conversation_id": conversation_id}
            while (stored := await self.records.find_one(where)) is not None:
                saved = emptied(stored, now())
                unchanged = where | {"updated_at": stored.updated_at}
                if await self.records.update_one(unchanged, said(saved)):
                    await self.grow(user_id, conversation_id, size_of(saved) - size_of(stored))
                    break  # otherwise an answer under way was saved meanwhile

    async def get(self, user_id: str, conversation_id: str, message_id: str) -> MessageRecord:
        await self._conversations.get(user_id, conversation_id)
        return await self._require(conversation_id, message_id)

    async def page(
        self,
        user_id: str,
        conversation_id: str,
        *,
        limit: int,
        cursor: str | None = None,
        newest_first: bool = False,
    ) -> Page[MessageRecord]:
        start = sequence_of(cursor)
        conversation = await self._conversations.get(user_id, conversation_id)
        if not newest_first:
            numbers, sort = {"$gt": start or 0, "$lte": (start or 0) + limit + 1}, OLDEST_FIRST
        elif start is None:
            numbers, sort = {"$gte": conversation.message_count - limit}, NEWEST_FIRST
        else:
            numbers, sort = {"$lt": start, "$gte": start - limit - 1}, NEWEST_FIRST
        where = {"conversation_id": conversation_id, "sequence": numbers}
        budget = Budget(limit, PAGE_BYTES)
        found = await self.records.find_within(where, sort=sort, limit=limit + 1, admits=partial(admits, budget))
        return page_within(found, budget, lambda message: str(message.sequence))

    async def history(
        self, user_id: str, conversation_id: str, *, message_id: str | None = None, limit: int | None = None
    ) -> list[MessageRecord]:
        conversation = await self._conversations.get(user_id, conversation_id)
        if message_id is not None:
            start: MessageRecord | None = await self._require(conversation_id, message_id)
        else:
            start = await self._newest(conversation_id, conversation.message_count)
        return [] if start is None else await self._path(start, limit)

    async def end_stale_streams(self, before: datetime) -> int:
        queued = await self._queued.find({}, sort=[("_id", 1)], limit=0)
        others = {"$nin": [answer.id for answer in queued]}
        where = {"_id": others, "status": "streaming", "updated_at": {"$lt": before}}
        return await self.records.update_many(where, {"$set": {"status": "partial", UNSEARCHED: True}})

    async def conversation_ids(self, *, after: str, limit: int) -> list[str]:
        found = await self.records.values("conversation_id", after=after, limit=limit * _NAMED_BY)
        return list(dict.fromkeys(found))[:limit]

    async def delete_orphans(self, conversation_ids: Sequence[str]) -> int:
        known = await self._conversations.records.find(
            {"_id": {"$in": list(conversation_ids)}}, sort=[("_id", 1)], limit=0
        )
        missing_ids = set(conversation_ids) - {conversation.id for conversation in known}
        return await self.records.delete({"conversation_id": {"$in": sorted(missing_ids)}}) if missing_ids else 0

    async def _path(self, start: MessageRecord, limit: int | None) -> list[MessageRecord]:
        """Return the messages down to ``start``, at most ``limit``. Parents have lower numbers than replies."""
        path, below = [start], start.sequence
        whole = Budget(sys.maxsize, PATH_BYTES)
        whole.admits(size_of(start))
        span = min(limit or _BATCH, _BATCH)
        while path[-1].parent_id is not None and (limit is None or len(path) < limit):
            numbers = {"$lt": below, "$gte": below - span}
            where = {"conversation_id": start.conversation_id, "sequence": numbers}
            window = Budget(span, PAGE_BYTES)
            older = await self.records.find_within(
                where, sort=NEWEST_FIRST, limit=span, admits=partial(admits, window)
            )
            if not older:
                break
            below = older[-1].sequence
            for message in older:
                if message.id == path[-1].parent_id:
                    path.append(message)
                    if not whole.admits(size_of(message)):
                        raise too_long()
        return path[:limit][::-1]

    async def _place(
        self, conversation: ConversationRecord, message: MessageRecord, at_head: bool
    ) -> tuple[MessageRecord, bool]:
        """Insert the message after the newest one. Return it as stored, and True if it was not stored before."""
        head_id, count = conversation.head_id, conversation.message_count
        for attempt in range(_ATTEMPTS):
            parent_id = head_id if at_head else message.parent_id
            placed = _replace(message, parent_id=parent_id, sequence=count + 1)
            try:
                await self.records.insert(placed)
            except Conflict:
                if stored := await self.records.find_one({"_id": message.id}):
                    return same_message(stored, message), False
            else:
                return placed, True
            await asyncio.sleep(random.uniform(0, 0.002 * attempt))
            if newest := await self._newest(conversation.id, count):
                head_id, count = newest.id, newest.sequence
        raise unavailable()

    async def _place_all(
        self, conversation: ConversationRecord, messages: Sequence[MessageRecord], at_head: bool
    ) -> list[MessageRecord]:
        """Insert messages after the newest one, in one command, and return them as stored.

        If another process takes a number in between, those that are not stored yet get higher ones.
        """
        placed: list[MessageRecord] = []
        waiting, head_id, count = list(messages), conversation.head_id, conversation.message_count
        for attempt in range(_ATTEMPTS):
            if at_head and not placed:
                waiting = below(head_id, waiting)
            batch = [_replace(message, sequence=count + at) for at, message in enumerate(waiting, 1)]
            try:
                await self.records.insert(*batch)
            except Conflict:
                ids = [message.id for message in batch]
                stored = await self.records.find({"_id": {"$in": ids}}, sort=[("_id", 1)], limit=len(ids))
                sent = {message.id: message for message in batch}
                if any(sent[message.id] != message for message in stored):
                    raise taken(MessageRecord, "id") from None
            else:
                return placed + batch
            placed += batch[: len(stored)]
            waiting = waiting[len(stored) :]
            if not waiting:  # stored by an attempt whose answer was lost
                return placed
            await asyncio.sleep(random.uniform(0, 0.002 * attempt))
            if newest := await self._newest(conversation.id, count):
                head_id, count = newest.id, newest.sequence
        raise unavailable()

    async def grow(self, user_id: str, conversation_id: str, by: int) -> None:
        """Count the bytes by which an answer is longer. An answer that was begun is never cut by a quota."""
        if by and await self._conversations.records.update_one(
            {"_id": conversation_id}, {"$inc": {"message_bytes": by}}
        ):
            await self._holdings.change(user_id, Amounts(bytes=by))

    async def _advance(
        self, conversation: ConversationRecord, appended: Sequence[MessageRecord], size: int
    ) -> None:
        """Point the conversation to its newest message, and count the bytes of new ones. Undo the append if the
        conversation was deleted meanwhile."""
        placed = appended[-1]
        latest = _replace(conversation, updated_at=now(), head_id=placed.id, message_count=placed.sequence)
        not_newer = {"_id": conversation.id, "message_count": {"$lt": placed.sequence}}
        fields = {"head_id": latest.head_id, "message_count": latest.message_count, **moved(latest)}
        conversations = self._conversations.records
        longer = {"$inc": {"message_bytes": size}}
        if await conversations.update_one(not_newer, {"$set": fields, **longer}):
            return
        if not await conversations.update_one({"_id": conversation.id}, longer):
            await self.records.delete({"_id": {"$in": [message.id for message in appended]}})
            raise missing(ConversationRecord)

    async def _newest(self, conversation_id: str, at_least: int) -> MessageRecord | None:
        where = {"conversation_id": conversation_id, "sequence": {"$gte": at_least}}
        return await self.records.find_one(where, sort=NEWEST_FIRST)

    async def _require(self, conversation_id: str, message_id: str, *, param: str | None = None) -> MessageRecord:
        found = await self.records.find_one({"_id": message_id, "conversation_id": conversation_id})
        if found is None:
            raise missing(MessageRecord, param=param)
        return found


async def _never() -> bool:
    return False


def admits(budget: Budget, message: MessageRecord) -> bool:
    """Return True if a budget has room for a message, and take it."""
    return budget.admits(size_of(message))
