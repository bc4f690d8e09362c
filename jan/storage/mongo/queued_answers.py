"""The queue of answers that are made in the background, on MongoDB.

``writer`` in the document of a message is whoever may save it. It is set after the lease was taken and before the
message is read, so that nothing of an earlier holder is stored after that.
"""

from collections.abc import Sequence
from datetime import datetime

from jan.storage.mongo.client import Collection, Connection
from jan.storage.mongo.documents import UNSEARCHED, encode, said
from jan.storage.mongo.messages import MongoMessages
from jan.storage.paging import size_of
from jan.storage.queued_answers import NOT_HELD, QueuedAnswer, QueueLength, QueueRoom, lost, with_content
from jan.storage.records import MessageRecord
from jan.storage.shared_rules import missing

# Other processes can't be faster more often than this.
_ATTEMPTS = 60
_CONTENT = ("items", "response", "status", "finish_reason", "usage", "updated_at", UNSEARCHED)


class MongoQueuedAnswers:
    """Implements ``queued_answers.QueuedAnswers`` on MongoDB."""

    def __init__(self, connection: Connection, messages: MongoMessages) -> None:
        self.records = Collection(connection, "queued_answers", QueuedAnswer)
        self._messages = messages

    async def add(self, answer: QueuedAnswer, room: QueueRoom) -> None:
        room.check(*await self._lengths(answer.user_id))
        await self.records.insert(answer)
        of_all, of_user = await self._lengths(answer.user_id)
        try:
            room.check(of_all - 1, of_user - 1)  # several processes may add at the same time
        except Exception:
            await self.records.delete({"_id": answer.id})
            raise

    async def find(self, answer_id: str) -> QueuedAnswer | None:
        return await self.records.find_one({"_id": answer_id})

    async def claim(
        self, holder: str, until: datetime, at: datetime, not_of: Sequence[str] = ()
    ) -> QueuedAnswer | None:
        free = {"held_until": {"$lte": at}, "user_id": {"$nin": list(not_of)}}
        for _ in range(_ATTEMPTS):
            found = await self.records.find_one(free, sort=[("_id", 1)])
            if found is None:
                return None
            same = {"_id": found.id, "holder": found.holder, "held_until": found.held_until}
            if claimed := await self._hold(same, holder, until):
                return claimed
        return None

    async def seize(self, answer_id: str, holder: str, until: datetime) -> QueuedAnswer | None:
        return await self._hold({"_id": answer_id}, holder, until)

    async def _hold(self, where: dict[str, object], holder: str, until: datetime) -> QueuedAnswer | None:
        held = await self.records.change_one(where, {"$set": {"holder": holder, "held_until": until}})
        if held is not None:
            await self._let_write(held.id, holder)
        return held

    async def _let_write(self, answer_id: str, holder: str) -> None:
        await self._messages.records.update_one({"_id": answer_id}, {"$set": {"writer": holder}})

    async def extend(self, holder: str, until: datetime) -> list[str]:
        await self.records.update_many({"holder": holder}, {"$set": {"held_until": until}})
        found = await self.records.find({"holder": holder}, sort=[("_id", 1)], limit=0)
        return [answer.id for answer in found]

    async def release(self, answer: QueuedAnswer, until: datetime = NOT_HELD) -> None:
        charged = encode(answer)["charged"]
        fields = {"holder": "", "held_until": until, "charged": charged}
        await self.records.update_one({"_id": answer.id, "holder": answer.holder}, {"$set": fields})

    async def remove(self, answer_id: str, holder: str) -> bool:
        return await self.records.delete({"_id": answer_id, "holder": holder}) > 0

    async def save(self, holder: str, message: MessageRecord) -> None:
        stored = await self._messages.records.find_one({"_id": message.id})
        if stored is None:
            raise missing(MessageRecord)
        saved = with_content(stored, message)
        change = said(saved)
        change["$set"] = {name: value for name, value in change["$set"].items() if name in _CONTENT}
        mine = {"_id": message.id, "writer": holder, "status": {"$ne": "complete"}}
        if not await self._messages.records.update_one(mine, change):
            await self._check_new(holder, message.id)
            if not await self._messages.records.update_one(mine, change):
                raise lost(message.id)
        owner = await self.find(message.id)
        if owner is not None:
            await self._messages.grow(owner.user_id, stored.conversation_id, size_of(saved) - size_of(stored))

    async def _check_new(self, holder: str, answer_id: str) -> None:
        """Let whoever added an answer write its message, which was not there yet. Raises Conflict for others."""
        if await self.records.find_one({"_id": answer_id, "holder": holder}) is None:
            raise lost(answer_id)
        unset = {"_id": answer_id, "writer": {"$exists": False}}
        await self._messages.records.update_one(unset, {"$set": {"writer": holder}})

    async def length(self) -> QueueLength:
        return QueueLength(await self.records.count(), await self.records.count({"holder": {"$gt": ""}}))

    async def _lengths(self, user_id: str) -> tuple[int, int]:
        return await self.records.count(), await self.records.count({"user_id": user_id})
