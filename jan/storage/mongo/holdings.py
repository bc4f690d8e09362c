"""Counts of what users store on MongoDB: one atomic change for each request that stores."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from jan.errors import Conflict, JanError, RateLimited, Unavailable
from jan.schema.limits import Quota
from jan.storage.holdings import Amounts, excess
from jan.storage.mongo.client import Collection, Connection
from jan.storage.mongo.failures import unavailable
from jan.storage.records import Record, User

# Attempts to count while other processes count for the same user.
_ATTEMPTS = 60
_NAMES = Amounts.__struct_fields__


class HoldingsDocument(Record, frozen=True, kw_only=True):
    """The counts of one user, whose id it has."""

    keys: int = 0
    presets: int = 0
    conversations: int = 0
    messages: int = 0
    bytes: int = 0
    shares: int = 0

    @classmethod
    def made_of(cls, user_id: str, held: Amounts) -> "HoldingsDocument":
        """Make the document of a user's counts."""
        return cls(id=user_id, **{name: getattr(held, name) for name in _NAMES})

    @property
    def amounts(self) -> Amounts:
        """The counts, none below 0."""
        return Amounts().plus(Amounts(**{name: getattr(self, name) for name in _NAMES}))


def _at_most(number: int) -> dict[str, object]:
    """Make the condition of a count, which is missing where an earlier server wrote the others."""
    return {"$not": {"$gt": number}}


class MongoHoldings:
    """Implements ``holdings.HoldingsRepository`` on MongoDB."""

    def __init__(self, connection: Connection, quota: Quota) -> None:
        self.records = Collection(connection, "holdings", HoldingsDocument)
        self._users = Collection(connection, "users", User)
        self._quota = quota

    async def of(self, user_id: str) -> Amounts:
        found = await self.records.find_one({"_id": user_id})
        return Amounts() if found is None else found.amounts

    async def check(self, user_id: str, more: Amounts) -> None:
        refused = excess(await self.of(user_id), more, self._quota)
        if refused is not None:
            await self._let_pass(user_id, refused)

    async def set(self, user_id: str, held: Amounts) -> None:
        fields = {name: getattr(held, name) for name in _NAMES}
        if not await self.records.update_one({"_id": user_id}, {"$set": fields}):
            await self.records.insert(HoldingsDocument.made_of(user_id, held))

    async def forget(self, user_id: str) -> None:
        await self.records.delete({"_id": user_id})

    @asynccontextmanager
    async def adding(
        self, user_id: str, more: Amounts, stored: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[None]:
        """Count what a user stores within. It is taken back if storing fails, unless its outcome is unknown.

        Raises RateLimited beyond the quota, except for administrators, and if ``stored`` says that this is known.
        """
        try:
            await self._add_within(user_id, more)
        except RateLimited:
            if not await stored():
                raise
            await self.change(user_id, more)
        try:
            yield
        except Unavailable:
            raise
        except JanError:
            await self.change(user_id, more.negative())
            raise

    async def change(self, user_id: str, by: Amounts) -> None:
        """Change the counts of a user, whatever the quota."""
        fields = {name: getattr(by, name) for name in _NAMES if getattr(by, name)}
        if not fields or await self.records.update_one({"_id": user_id}, {"$inc": fields}):
            return
        if Amounts().plus(by) != Amounts():
            await self._begin(user_id, by)

    async def _add_within(self, user_id: str, more: Amounts) -> None:
        fields = {name: getattr(more, name) for name in _NAMES if getattr(more, name)}
        limits = {name: getattr(self._quota, name) for name in fields}
        room = {name: _at_most(limit - fields[name]) for name, limit in limits.items() if limit is not None}
        for _ in range(_ATTEMPTS):
            if not fields or await self.records.update_one({"_id": user_id, **room}, {"$inc": fields}):
                return
            found = await self.records.find_one({"_id": user_id})
            refused = excess(Amounts() if found is None else found.amounts, more, self._quota)
            if refused is not None:
                await self._let_pass(user_id, refused)
                await self.change(user_id, more)
                return
            if found is None and await self._begin(user_id, more):
                return
        raise unavailable()

    async def _let_pass(self, user_id: str, refused: RateLimited) -> None:
        user = await self._users.find_one({"_id": user_id})
        if user is None or user.role != "admin":
            raise refused

    async def _begin(self, user_id: str, held: Amounts) -> bool:
        """Make the document of a user. False if another process was first."""
        try:
            await self.records.insert(HoldingsDocument.made_of(user_id, Amounts().plus(held)))
        except Conflict:
            return False
        return True
