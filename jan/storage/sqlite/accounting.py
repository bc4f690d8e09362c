"""Counters for rate limits and token usage on SQLite."""

import sqlite3
from collections.abc import Sequence
from datetime import date

from jan.storage.accounting import Counter, Demand, Taken, UsageRecord, end_of_window, window_runs
from jan.storage.sqlite.database import Database
from jan.storage.sqlite.tables import USAGE


class SqliteCounters:
    """Implements ``accounting.Counters``. Each call is one transaction."""

    waits = True

    def __init__(self, database: Database) -> None:
        self._db = database

    async def take(self, demands: Sequence[Demand], now: int) -> Taken:
        def look(db: sqlite3.Connection) -> Taken:
            return Taken(counters=tuple(_window(db, demand, now) for demand in demands))

        def work(db: sqlite3.Connection) -> Taken:
            found = look(db)
            for index, (demand, counter) in enumerate(zip(demands, found.counters, strict=True)):
                if demand.cost and counter.used + demand.cost > demand.limit:
                    return Taken(counters=found.counters, refused=index)
            pairs = zip(demands, found.counters, strict=True)
            return Taken(counters=tuple(_count(db, demand, counter) for demand, counter in pairs))

        # A call that only looks does not wait for the writer.
        return await (self._db.write(work) if any(d.cost for d in demands) else self._db.read(look))

    async def adjust(self, counter: Counter, change: int) -> None:
        sql = "UPDATE counters SET used = max(0, used + ?) WHERE key = ? AND ends_at = ?"
        await self._db.write(lambda db: db.execute(sql, (change, counter.key, counter.ends_at)).rowcount)

    async def purge(self, now: int) -> None:
        sql = "DELETE FROM counters WHERE ends_at <= ?"
        await self._db.write(lambda db: db.execute(sql, (now,)).rowcount)


def _window(db: sqlite3.Connection, demand: Demand, now: int) -> Counter:
    """Return the running window of a demand, or the one that would begin now."""
    found = db.execute("SELECT used, ends_at FROM counters WHERE key = ?", (demand.key,)).fetchone()
    if found is not None and window_runs(demand, found[1], now):
        return Counter(key=demand.key, used=found[0], ends_at=found[1])
    return Counter(key=demand.key, used=0, ends_at=end_of_window(demand, now))


def _count(db: sqlite3.Connection, demand: Demand, counter: Counter) -> Counter:
    if not demand.cost:
        return counter
    counted = Counter(key=counter.key, used=counter.used + demand.cost, ends_at=counter.ends_at)
    db.execute(
        "INSERT INTO counters (key, used, ends_at) VALUES (?, ?, ?) "
        "ON CONFLICT (key) DO UPDATE SET used = excluded.used, ends_at = excluded.ends_at",
        (counted.key, counted.used, counted.ends_at),
    )
    return counted


class SqliteUsageLog:
    """Implements ``accounting.UsageLog`` on SQLite."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def add(self, more: UsageRecord) -> None:
        def work(db: sqlite3.Connection) -> None:
            known = USAGE.find(db, "id = ?", more.id)
            if known is None:
                USAGE.insert(db, more)
            else:
                USAGE.replace(db, known.plus(more))

        await self._db.write(work)

    async def of(self, user_id: str, first: date, last: date) -> list[UsageRecord]:
        clauses = "WHERE user_id = ? AND day BETWEEN ? AND ? ORDER BY user_id, day"
        rows = await self._db.read(
            lambda db: USAGE.select(db, clauses, user_id, first.isoformat(), last.isoformat())
        )
        return sorted(rows, key=lambda row: (row.day, row.model, row.key_id))
