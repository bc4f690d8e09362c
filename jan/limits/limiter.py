"""Admits or refuses requests by the number of requests before them."""

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from jan.errors import RateLimited
from jan.limits.headers import limit_exceeded
from jan.limits.windows import Standing, Window, Windows
from jan.operation import LimitClass
from jan.schema.limits import TokenBudget
from jan.schema.scopes import Identity
from jan.storage.accounting import Counters, Taken
from jan.telemetry.metrics import Metrics

NOTHING_HELD: Mapping[str, int] = MappingProxyType({})


def milliseconds_now() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the caller's windows after a request, and the reason if it is refused."""

    requests: tuple[Standing, ...] = ()
    tokens: tuple[Standing, ...] = ()
    refusal: RateLimited | None = None


class Taker:
    """Takes from windows: all demands of a request together, or none."""

    def __init__(self, counters: Counters, metrics: Metrics, clock: Callable[[], int] = milliseconds_now) -> None:
        self.counters = counters
        self.clock = clock
        self._metrics = metrics

    async def take(
        self, wanted: Sequence[tuple[Window, int]], held: Mapping[str, int] = NOTHING_HELD
    ) -> tuple[tuple[Standing, ...], RateLimited | None]:
        """Count amounts in windows. Return the windows' state, and the refusal if one had too little left.

        ``held`` is what the request already has in the windows, by key. Only the message of a refusal uses it.
        """
        demands = [window.demand(cost) for window, cost in wanted]
        taken = await self.counters.take(demands, self.clock())
        standings = tuple(
            Standing(window, counter) for (window, _), counter in zip(wanted, taken.counters, strict=True)
        )
        return standings, self._refusal(wanted, standings, taken, held)

    def _refusal(
        self,
        wanted: Sequence[tuple[Window, int]],
        standings: Sequence[Standing],
        taken: Taken,
        held: Mapping[str, int],
    ) -> RateLimited | None:
        if taken.refused is None:
            return None
        # Report the last of the full windows to end, since retrying earlier is pointless.
        full = [
            (standing, cost)
            for standing, (_, cost) in zip(standings, wanted, strict=True)
            if cost > standing.window.limit - standing.counter.used
        ]
        worst, cost = max(full, key=lambda pair: pair[0].counter.ends_at)
        self.count_refusal(worst.window)
        own = held.get(worst.window.key, 0)
        return limit_exceeded(worst, cost + own, worst.remaining + own, self.clock())

    def count_refusal(self, window: Window) -> None:
        """Count a refusal for the metrics."""
        self._metrics.limits_refused.labels(window.name).inc()


class Limiter:
    """Counts requests and refuses those over a limit."""

    def __init__(self, windows: Windows, taker: Taker) -> None:
        self._windows = windows
        self._taker = taker

    @property
    def clock(self) -> Callable[[], int]:
        """The clock, in milliseconds since 1970."""
        return self._taker.clock

    async def admit(self, identity: Identity, limit: LimitClass) -> Verdict:
        """Count a request of a limit class, unless the class is "none" or a window is full."""
        if limit == "none":
            return Verdict()
        requests = self._windows.of_requests(identity, limit)
        tokens = self._windows.of_tokens(identity) if limit == "inference" else ()
        if not requests and not tokens:
            return Verdict()
        standings, refused = await self._taker.take([(window, 1) for window in requests] + _looks(tokens))
        return Verdict(requests=standings[: len(requests)], tokens=standings[len(requests) :], refusal=refused)

    def excess_of_key(self, identity: Identity, budget: TokenBudget) -> str | None:
        """Return the first field in which a key with this budget may use more tokens than the caller's own key."""
        return self._windows.excess_of_key(identity, budget)

    async def standings(self, identity: Identity) -> tuple[Standing, ...]:
        """Return the state of all of a caller's windows without counting anything."""
        windows = (*self._windows.of_requests(identity, "inference"), *self._windows.of_tokens(identity))
        return (await self._taker.take(_looks(windows)))[0] if windows else ()


def _looks(windows: Sequence[Window]) -> list[tuple[Window, int]]:
    return [(window, 0) for window in windows]
