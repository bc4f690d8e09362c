"""Whether a request may go on, by the number of requests before it."""

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from jan.errors import RateLimited
from jan.limits.headers import refusal
from jan.limits.windows import Standing, Window, Windows
from jan.operation import LimitClass
from jan.schema.limits import TokenBudget
from jan.schema.scopes import Identity
from jan.storage.accounting import Counters, Taken
from jan.telemetry.metrics import Metrics

NOTHING_HELD: Mapping[str, int] = MappingProxyType({})


def milliseconds_now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How the caller's windows stand after a request, and why it is refused, if it is."""

    requests: tuple[Standing, ...] = ()
    tokens: tuple[Standing, ...] = ()
    refusal: RateLimited | None = None


class Taker:
    """Takes from windows: all of a request's demands at once, or none."""

    def __init__(self, counters: Counters, metrics: Metrics, clock: Callable[[], int] = milliseconds_now) -> None:
        self.counters = counters
        self.clock = clock
        self._metrics = metrics

    async def take(
        self, wanted: Sequence[tuple[Window, int]], held: Mapping[str, int] = NOTHING_HELD
    ) -> tuple[tuple[Standing, ...], RateLimited | None]:
        """Count so much in each window; how they stand then, and the refusal if one had too little left.

        ``held``: what the request has in them already, by key; only the refusal's words are of it.
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
        # Of several that are used up the last to begin anew: before that it is no use to try again.
        full = [
            (standing, cost)
            for standing, (_, cost) in zip(standings, wanted, strict=True)
            if cost > standing.window.limit - standing.counter.used
        ]
        worst, cost = max(full, key=lambda pair: pair[0].counter.ends_at)
        self.count_refusal(worst.window)
        own = held.get(worst.window.key, 0)
        return refusal(worst, cost + own, worst.remaining + own, self.clock())

    def count_refusal(self, window: Window) -> None:
        """For the metrics."""
        self._metrics.limits_refused.labels(window.name).inc()


class Limiter:
    """Counts requests."""

    def __init__(self, windows: Windows, taker: Taker) -> None:
        self._windows = windows
        self._taker = taker

    @property
    def clock(self) -> Callable[[], int]:
        """Tells milliseconds since 1970."""
        return self._taker.clock

    async def admit(self, identity: Identity, limit: LimitClass) -> Verdict:
        """Count a request of a limit class, unless that is "none" or a window has no room for it."""
        if limit == "none":
            return Verdict()
        requests = self._windows.of_requests(identity, limit)
        tokens = self._windows.of_tokens(identity) if limit == "inference" else ()
        if not requests and not tokens:
            return Verdict()
        standings, refused = await self._taker.take([(window, 1) for window in requests] + _looks(tokens))
        return Verdict(requests=standings[: len(requests)], tokens=standings[len(requests) :], refusal=refused)

    def check_key(self, identity: Identity, budget: TokenBudget) -> None:
        """Raises PermissionDenied where the caller's key would make or renew one that may use more than itself."""
        self._windows.check_key(identity, budget)

    async def standings(self, identity: Identity) -> tuple[Standing, ...]:
        """How all of a caller's windows stand; counts nothing."""
        windows = (*self._windows.of_requests(identity, "inference"), *self._windows.of_tokens(identity))
        return (await self._taker.take(_looks(windows)))[0] if windows else ()


def _looks(windows: Sequence[Window]) -> list[tuple[Window, int]]:
    return [(window, 0) for window in windows]
