"""Writes usage in the background: merged, and retried while the store is unreachable."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from datetime import date

import msgspec
import structlog

from jan.errors import JanError
from jan.storage.accounting import Counter, Counters, UsageLog, UsageRecord
from jan.tasks import end

log = structlog.get_logger(__name__)

# Usage that arrives within this time is written together.
_MERGE_SECONDS = 0.5
_RETRY_SECONDS = 2.0
_LAST_RETRY_SECONDS = 0.1


def merge(rows: Iterable[UsageRecord]) -> list[UsageRecord]:
    """Merge rows of the same user, key, model and day. Returns them ordered by day, model and key."""
    merged: dict[str, UsageRecord] = {}
    for row in rows:
        known = merged.get(row.id)
        merged[row.id] = row if known is None else known.plus(row)
    return sorted(merged.values(), key=lambda row: (row.day, row.model, row.key_id))


class UsageWriter:
    """The only writer of usage in this process, and of refunds that the store did not accept at once."""

    def __init__(self, usage: UsageLog, counters: Counters) -> None:
        self._log = usage
        self._counters = counters
        self._rows: list[UsageRecord] = []
        self._changes: dict[tuple[str, int], tuple[Counter, int]] = {}
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        # A reader must see each row either here or in the store, never in both.
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._failing = False

    def start(self) -> None:
        """Start to write in the background."""
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(_tell_of_its_end)

    def add(self, usage: UsageRecord) -> None:
        """Record usage. It reaches the store within a second if the store is reachable."""
        self._rows.append(usage)
        if len(self._rows) > 1000:
            self._rows = merge(self._rows)
        self._wake.set()

    def adjust_later(self, counter: Counter, change: int) -> None:
        """Adjust a window once the store is reachable again."""
        known = self._changes.get((counter.key, counter.ends_at))
        self._changes[counter.key, counter.ends_at] = (counter, change + (known[1] if known else 0))
        self._wake.set()

    async def of(self, user_id: str, first: date, last: date) -> list[UsageRecord]:
        """Return a user's usage of these days, including rows that are not written yet; ordered by day, model and
        key."""
        async with self._writing:
            stored = await self._log.of(user_id, first, last)
            here = [row for row in self._rows if row.user_id == user_id and first <= row.day <= last]
            return merge([*stored, *here])

    async def close(self, seconds: float) -> None:
        """Write everything, trying for this many seconds. The log has what could not be written."""
        self._closing.set()
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=seconds)
            await end(self._task)
        for row in merge(self._rows):
            log.error("usage is lost", **msgspec.to_builtins(row))
        self._rows = []

    async def _run(self) -> None:
        while not self._closing.is_set() or self._rows or self._changes:
            await self._wake.wait()
            await self._pause(_MERGE_SECONDS)
            self._wake.clear()
            try:
                async with self._writing:
                    await self._write()
                if self._failing:
                    self._failing = False
                    log.info("usage is written again")
            except JanError as error:
                self._wake.set()
                if not self._failing:
                    self._failing = True
                    log.warning("usage can't be written; kept in memory until it can", reason=error.message)
                await (
                    asyncio.sleep(_LAST_RETRY_SECONDS) if self._closing.is_set() else self._pause(_RETRY_SECONDS)
                )

    async def _pause(self, seconds: float) -> None:
        """Sleep, but wake up at shutdown."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()

    async def _write(self) -> None:
        rows, self._rows = merge(self._rows), []
        try:
            while rows:
                # One by one: if a store failed in the middle of several, some would be counted twice.
                await self._log.add(rows[0])
                del rows[0]
        except BaseException:
            self._rows = [*rows, *self._rows]
            raise
        while self._changes:
            slot, (counter, change) = next(iter(self._changes.items()))
            await self._counters.adjust(counter, change)
            self._subtract(slot, change)

    def _subtract(self, slot: tuple[str, int], change: int) -> None:
        counter, left = self._changes.pop(slot)
        if left != change:
            self._changes[slot] = (counter, left - change)


def _tell_of_its_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("usage writer failed", exc_info=error)
