"""Stored answers of idempotent requests, on MongoDB."""

from datetime import datetime

from jan.errors import Conflict
from jan.storage.idempotent_answers import LONG_AGO, IdempotentAnswer, replaces
from jan.storage.mongo.client import Collection, Connection
from jan.storage.mongo.documents import encode
from jan.storage.mongo.failures import unavailable

# A request can't be forgotten more often than this between meeting and reading it.
_ATTEMPTS = 20


class MongoIdempotentAnswers:
    """Implements ``idempotent_answers.IdempotentAnswers`` on MongoDB."""

    def __init__(self, connection: Connection) -> None:
        self.records = Collection(connection, "given_answers", IdempotentAnswer)

    async def begin(self, request: IdempotentAnswer, *, abandoned_before: datetime) -> IdempotentAnswer:
        for _ in range(_ATTEMPTS):
            try:
                await self.records.insert(request)
            except Conflict:
                found = await self._take_over(request, abandoned_before)
                if found is not None:
                    return found
            else:
                return request
        raise unavailable()

    async def _take_over(self, request: IdempotentAnswer, abandoned_before: datetime) -> IdempotentAnswer | None:
        """Try to replace the stored request. Return the one that holds the id, or None if it changed meanwhile."""
        stored = await self.records.find_one({"_id": request.id})
        successor = stored and replaces(stored, request, abandoned_before)
        if stored is None or successor is None:
            return stored
        same = {"_id": stored.id, "attempt": stored.attempt, "answer": None, "begun_at": stored.begun_at}
        fields = {name: value for name, value in encode(successor).items() if name != "_id"}
        return successor if await self.records.update_one(same, {"$set": fields}) else None

    async def renew(self, request: IdempotentAnswer, at: datetime) -> None:
        own = {"_id": request.id, "attempt": request.attempt, "answer": None}
        await self.records.update_one(own, {"$set": {"begun_at": at}})

    async def finish(self, request: IdempotentAnswer) -> None:
        await self._set(request, {name: encode(request)[name] for name in ("answer", "about")})

    async def release(self, request: IdempotentAnswer) -> None:
        await self._set(request, {"begun_at": LONG_AGO})

    async def _set(self, request: IdempotentAnswer, fields: dict[str, object]) -> None:
        await self.records.update_one({"_id": request.id, "attempt": request.attempt}, {"$set": fields})

    async def forget(self, request: IdempotentAnswer) -> None:
        await self.records.delete({"_id": request.id, "attempt": request.attempt})

    async def forget_about(self, conversation_id: str) -> None:
        await self.records.delete({"about": conversation_id})

    async def purge(self, before: datetime) -> int:
        return await self.records.delete({"first_at": {"$lt": before}})
