"""Contract of counters for rate limits, which expire by themselves, and of token usage by day.

Counters are exact across all processes that share the store. A process that crashes loses only the refunds it had
not yet made.
"""

import hashlib
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import Protocol

import msgspec

from jan.storage.records import Record

# If a clock is set back by less than this, its windows simply last that much longer.
_CLOCKS_DIFFER_MS = 60_000


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """A request to count ``cost`` more under ``key``, in a window of ``seconds`` that holds at most ``limit``.

    A window begins with the first demand that finds none running, and ends ``seconds`` later. ``stranger`` marks a
    demand for a caller known only by address. Anybody can have many addresses.
    """

    key: str
    cost: int
    limit: int
    seconds: float
    stranger: bool = False


class Counter(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one window: the amount counted, and its end in milliseconds since 1970 by the server's clock.
    ``key`` and ``ends_at`` together identify the window."""

    key: str
    used: int
    ends_at: int


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of demands: one counter for each, in their order.

    ``refused`` is the index of the first demand that did not fit. If it is set, nothing was counted for any of
    them.
    """

    counters: tuple[Counter, ...]
    refused: int | None = None


def window_runs(demand: Demand, ends_at: int, now: int) -> bool:
    """Return True if a window with this end is the demand's window at ``now``, both in milliseconds since 1970.

    A window that ends much more than its full length from now was begun before the clock was set back.
    """
    return now < ends_at <= latest_end(demand, now)


def latest_end(demand: Demand, now: int) -> int:
    """Return the latest end that a running window of this demand may have, in milliseconds since 1970.

    Clocks of processes differ, and another process may begin the window while this demand is on its way. The
    margin keeps such a window, with what was counted in it.
    """
    return end_of_window(demand, now) + _CLOCKS_DIFFER_MS


def end_of_window(demand: Demand, now: int) -> int:
    """Return the end of a window that begins now, in milliseconds since 1970."""
    return now + int(demand.seconds * 1000)


class Counters(Protocol):
    """Counts within windows of time.

    ``waits`` is True if a call may have to wait, so that a cancellation can interrupt it. Counters in memory never
    wait.
    """

    @property
    def waits(self) -> bool: ...

    async def take(self, demands: Sequence[Demand], now: int) -> Taken:
        """Count all demands, which have different keys, or none. ``now`` is in milliseconds since 1970.

        A cost of 0 only reads the counter and is never refused. A store may count the demands one after the other
        and give back those before a refused one. Never more than ``limit`` pass, but an amount that is about to be
        given back may briefly refuse another call. Therefore pass the demand that is most likely to be refused
        first.
        """

    async def adjust(self, counter: Counter, change: int) -> None:
        """Add to a window that is still running, regardless of its limit and never below 0. Used to give back."""

    async def purge(self, now: int) -> None:
        """Forget windows that have ended. A store may also do this by itself."""


class UsageRecord(Record, frozen=True, kw_only=True):
    """Tokens used on one day (UTC) by one user, with one key, on one model.

    ``key_id`` is '' for a session or an unknown caller. ``user_id`` is '' for all anonymous callers together.
    ``id`` is derived from these four fields.
    """

    id: str = ""
    user_id: str
    key_id: str = ""
    model: str
    day: date
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    def __post_init__(self) -> None:
        # It has no times, so there is nothing to round.
        id_ = _usage_id(self.user_id, self.key_id, self.model, self.day)
        msgspec.structs.force_setattr(self, "id", id_)

    def plus(self, more: "UsageRecord") -> "UsageRecord":
        """Return the sum of two records of the same user, key, model and day."""
        return msgspec.structs.replace(
            self, **{name: getattr(self, name) + getattr(more, name) for name in COUNTS}
        )


# The same callers return again and again, and every request makes a record.
@lru_cache(1024)
def _usage_id(user_id: str, key_id: str, model: str, day: date) -> str:
    place = "\0".join((user_id, key_id, model, day.isoformat()))
    return f"usage_{hashlib.sha256(place.encode()).hexdigest()[:32]}"


COUNTS = ("requests", "prompt_tokens", "completion_tokens", "cached_tokens")
"""The fields of ``UsageRecord`` that are summed."""


class UsageLog(Protocol):
    """Token usage summed by user, key, model and day."""

    async def add(self, more: UsageRecord) -> None:
        """Add durably to the stored sums. If it raises, the amount was added only if just the reply was lost."""

    async def of(self, user_id: str, first: date, last: date) -> list[UsageRecord]:
        """Return a user's usage from ``first`` to ``last``, both included, ordered by day, model and key."""
