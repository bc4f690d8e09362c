"""Counters in the memory of one process, used alone or while the shared store is unreachable."""

import itertools
import math
import time
from collections.abc import Callable, Sequence

import structlog

from jan.errors import Unavailable
from jan.storage.accounting import Counter, Counters, Demand, Taken

log = structlog.get_logger(__name__)

_PURGE_SECONDS = 60.0
# About 30 MB. Whoever controls more addresses than this can't be stopped by counting them. Known callers are
# limited by the number of accounts, and addresses never displace them.
_MOST_STRANGERS = 100_000
# Time between attempts to reach the store, because each failed attempt delays a request.
_BACK_OFF_SECONDS = 1.0


class _MemoryWindow:
    """A window that ends by the monotonic clock, which nobody can set."""

    __slots__ = ("ends", "serial", "used")

    def __init__(self, serial: int, ends: float) -> None:
        self.serial = serial
        self.ends = ends
        self.used = 0


class MemoryCounter(Counter, frozen=True, kw_only=True):
    """A counter whose ``serial`` identifies the window, because ``ends_at`` changes when the clock is set."""

    serial: int


class MemoryCounters:
    """Implements ``Counters`` for this process alone. ``clock`` returns seconds and is never set back."""

    waits = False

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[str, _MemoryWindow] = {}
        # The keys of windows of unknown callers, in order of their beginning.
        self._strangers: dict[str, None] = {}
        self._serials = itertools.count(1)
        self._purge_at = clock() + _PURGE_SECONDS

    async def take(self, demands: Sequence[Demand], now: int) -> Taken:
        """Count all demands, or none of them."""
        at = self._clock()
        if at >= self._purge_at:
            self._forget(at)
        used = [self._used(demand.key, at) for demand in demands]
        refused = next(
            (i for i, demand in enumerate(demands) if demand.cost and used[i] + demand.cost > demand.limit), None
        )
        counters = [self._count(demand, at, now, refused is None) for demand in demands]
        return Taken(counters=tuple(counters), refused=refused)

    def _used(self, key: str, at: float) -> int:
        window = self._windows.get(key)
        return window.used if window is not None and window.ends > at else 0

    def _count(self, demand: Demand, at: float, now: int, granted: bool) -> Counter:
        window = self._windows.get(demand.key)
        if window is None or window.ends <= at:
            window = _MemoryWindow(next(self._serials), at + demand.seconds)
            if granted and demand.cost:
                self._begin(demand, window)
        if granted:
            window.used += demand.cost
        ends_at = now + math.ceil((window.ends - at) * 1000)
        return MemoryCounter(key=demand.key, used=window.used, ends_at=ends_at, serial=window.serial)

    def _begin(self, demand: Demand, window: _MemoryWindow) -> None:
        if demand.stranger:
            self._strangers.pop(demand.key, None)
            if len(self._strangers) >= _MOST_STRANGERS:
                oldest = next(iter(self._strangers))
                del self._strangers[oldest], self._windows[oldest]
            self._strangers[demand.key] = None
        self._windows[demand.key] = window

    async def adjust(self, counter: Counter, change: int) -> None:
        """Add to a window that is still running, regardless of its limit and never below 0."""
        window = self._windows.get(counter.key)
        if window is not None and isinstance(counter, MemoryCounter) and window.serial == counter.serial:
            window.used = max(0, window.used + change)

    async def purge(self, now: int) -> None:
        """Forget windows that have ended."""
        self._forget(self._clock())

    def _forget(self, at: float) -> None:
        self._purge_at = at + _PURGE_SECONDS
        self._windows = {key: window for key, window in self._windows.items() if window.ends > at}
        self._strangers = {key: None for key in self._strangers if key in self._windows}


class FailoverCounters:
    """Counts in the store, or in memory while the store is unreachable: limits hold and nobody is refused."""

    waits = True

    def __init__(self, shared: Counters, clock: Callable[[], float] = time.monotonic) -> None:
        self._shared = shared
        self._own = MemoryCounters(clock)
        self._clock = clock
        self._away = False
        self._ask_again_at = clock()

    async def take(self, demands: Sequence[Demand], now: int) -> Taken:
        """Count all demands, or none of them."""
        if self._clock() >= self._ask_again_at:
            try:
                taken = await self._shared.take(demands, now)
            except Unavailable as error:
                self._miss(error)
            else:
                self._find()
                return taken
        return await self._own.take(demands, now)

    def _miss(self, error: Unavailable) -> None:
        self._ask_again_at = self._clock() + _BACK_OFF_SECONDS
        if not self._away:
            self._away = True
            log.warning("store unreachable; this process counts limits alone", reason=error.message)

    def _find(self) -> None:
        if self._away:
            self._away = False
            log.info("store reachable; limits are counted in it again")

    async def adjust(self, counter: Counter, change: int) -> None:
        """Add to a window where it was counted. Raises Unavailable if that is the store and it is unreachable."""
        if isinstance(counter, MemoryCounter):
            await self._own.adjust(counter, change)
            return
        if self._clock() < self._ask_again_at:
            raise Unavailable("The store can't be reached. Try again later.", code="storage_unavailable")
        try:
            await self._shared.adjust(counter, change)
        except Unavailable as error:
            self._miss(error)
            raise

    async def purge(self, now: int) -> None:
        """Forget windows that have ended, also in the store."""
        await self._own.purge(now)
        await self._shared.purge(now)
