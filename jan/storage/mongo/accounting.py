"""Counters for rate limits and token usage on MongoDB."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import msgspec

from jan.errors import Conflict
from jan.storage.accounting import (
    COUNTS,
    Counter,
    Demand,
    Taken,
    UsageRecord,
    end_of_window,
    latest_end,
    window_runs,
)
from jan.storage.mongo.client import Collection, Connection
from jan.storage.mongo.documents import encode
from jan.storage.mongo.failures import unavailable
from jan.storage.records import Record

# A window can't end or be begun by another server more often than this between two reads.
_ATTEMPTS = 20
# The database removes windows by its own clock. The margin keeps running windows if that clock is fast.
_CLOCKS_DIFFER = timedelta(hours=1)


class CounterDocument(Record, frozen=True, kw_only=True):
    """A counter as it is stored. The database removes it some time after ``expires_at``."""

    used: int
    ends_at: int
    expires_at: datetime

    @property
    def counter(self) -> Counter:
        """The counter in the contract's form."""
        return Counter(key=self.id, used=self.used, ends_at=self.ends_at)


def _window(demand: Demand, now: int) -> CounterDocument:
    """Return the window that begins with this demand."""
    ends_at = end_of_window(demand, now)
    return CounterDocument(id=demand.key, used=demand.cost, ends_at=ends_at, expires_at=_expiry(ends_at))


def _expiry(ends_at: int) -> datetime:
    return datetime.fromtimestamp(ends_at / 1000, UTC) + _CLOCKS_DIFFER


class MongoCounters:
    """Implements ``accounting.Counters``. Each demand is one atomic change.

    If a later demand of the call is refused, the earlier ones are given back. Until then they may refuse other
    calls, so pass the demand that is most likely to be refused first.
    """

    waits = True

    def __init__(self, connection: Connection) -> None:
        # Losing a count with a server lets one request too many pass. Waiting for a journalled majority on every
        # request would cost more than that.
        self.records = Collection(connection, "counters", CounterDocument, durable=False)

    async def take(self, demands: Sequence[Demand], now: int) -> Taken:
        counters: list[Counter] = []
        for index, demand in enumerate(demands):
            counter, fits = await self._take(demand, now)
            counters.append(counter)
            if not fits:
                counters = await self._give_back(demands[:index], counters)
                counters += [await self._look(demand, now) for demand in demands[index + 1 :]]
                return Taken(counters=tuple(counters), refused=index)
        return Taken(counters=tuple(counters))

    async def _take(self, demand: Demand, now: int) -> tuple[Counter, bool]:
        """Count one demand if it fits. Return its window and True if it was counted."""
        if not demand.cost:
            return await self._look(demand, now), True
        running = {"_id": demand.key, "ends_at": {"$gt": now, "$lte": latest_end(demand, now)}}
        fitting = {**running, "used": {"$lte": demand.limit - demand.cost}}
        for _ in range(_ATTEMPTS):
            taken = await self.records.change_one(fitting, {"$inc": {"used": demand.cost}})
            if taken is not None:
                return taken.counter, True
            found = await self.records.find_one({"_id": demand.key})
            if found is not None and window_runs(demand, found.ends_at, now):
                if found.used + demand.cost > demand.limit:
                    return found.counter, False
            elif demand.cost > demand.limit:
                return Counter(key=demand.key, used=0, ends_at=end_of_window(demand, now)), False
            elif await self._begin(found, _window(demand, now)):
                return _window(demand, now).counter, True
        raise unavailable()

    async def _begin(self, ended: CounterDocument | None, window: CounterDocument) -> bool:
        """Begin a window in place of the one that has ended. False if another server was first."""
        if ended is None:
            try:
                await self.records.insert(window)
            except Conflict:
                return False
            return True
        fields = {name: value for name, value in encode(window).items() if name != "_id"}
        # A window may be begun anew within the same millisecond, so its end alone does not identify it.
        same = {"_id": ended.id, "ends_at": ended.ends_at, "used": ended.used}
        return await self.records.update_one(same, {"$set": fields})

    async def _look(self, demand: Demand, now: int) -> Counter:
        found = await self.records.find_one({"_id": demand.key})
        if found is not None and window_runs(demand, found.ends_at, now):
            return found.counter
        return Counter(key=demand.key, used=0, ends_at=end_of_window(demand, now))

    async def _give_back(self, demands: Sequence[Demand], counters: list[Counter]) -> list[Counter]:
        given = []
        for demand, counter in zip(demands, counters, strict=False):
            if demand.cost:
                await self.adjust(counter, -demand.cost)
            given.append(msgspec.structs.replace(counter, used=counter.used - demand.cost))
        return [*given, *counters[len(demands) :]]

    async def adjust(self, counter: Counter, change: int) -> None:
        same = {"_id": counter.key, "ends_at": counter.ends_at}
        enough = {**same, "used": {"$gte": -change}}
        if not await self.records.update_one(enough, {"$inc": {"used": change}}):
            await self.records.update_one({**same, "used": {"$lt": -change}}, {"$set": {"used": 0}})

    async def purge(self, now: int) -> None:
        await self.records.delete({"expires_at": {"$lte": _expiry(now)}})


class MongoUsageLog:
    """Implements ``accounting.UsageLog`` on MongoDB."""

    def __init__(self, connection: Connection) -> None:
        self.records = Collection(connection, "usage", UsageRecord)

    async def add(self, more: UsageRecord) -> None:
        if not await self._increase(more):
            try:
                await self.records.insert(more)
            except Conflict:  # another server inserted it first
                await self._increase(more)

    async def _increase(self, more: UsageRecord) -> bool:
        counts = {name: getattr(more, name) for name in COUNTS}
        return await self.records.update_one({"_id": more.id}, {"$inc": counts})

    async def of(self, user_id: str, first: date, last: date) -> list[UsageRecord]:
        where = {"user_id": user_id, "day": {"$gte": first.isoformat(), "$lte": last.isoformat()}}
        rows = await self.records.find(where, sort=[("day", 1)], limit=0)
        return sorted(rows, key=lambda row: (row.day, row.model, row.key_id))
