"""What the store keeps for limits: counters that end by themselves, and token usage by day.

The counters are exact for all processes that share the store; a crash of one of them loses nothing but its
own last give-backs.
"""

import hashlib
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import Protocol

import msgspec

from jan.storage.records import Record

# A clock that is set back by less holds its windows up for as long.
_CLOCKS_DIFFER_MS = 60_000


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """Wants ``cost`` more counted under ``key``, where a window of ``seconds`` may hold ``limit``.

    A window begins with the first demand that finds none, and ends ``seconds`` later. ``stranger``: it counts for
    somebody of whom only an address is known, and anybody can have many of those.
    """

    key: str
    cost: int
    limit: int
    seconds: float
    stranger: bool = False


class Counter(msgspec.Struct, frozen=True, kw_only=True):
    """A window's state: what is counted in it, and when it ends, in milliseconds since 1970 by the server's
    clock. The pair of key and ``ends_at`` names the window."""

    key: str
    used: int
    ends_at: int


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What came of demands: one counter each, in their order. ``refused`` is the index of the first that did
    not fit; then nothing of any of them is counted."""

    counters: tuple[Counter, ...]
    refused: int | None = None


def window_runs(demand: Demand, ends_at: int, now: int) -> bool:
    """Whether a window that ends then is the demand's at ``now``, both in milliseconds since 1970.

    One that ends much later than a whole window from now was made before the clock was set back.
    """
    return now < ends_at <= latest_end(demand, now)


def latest_end(demand: Demand, now: int) -> int:
    """The latest end of a window that may be the demand's. Clocks of processes differ, and a demand may be long on
    its way while another begins the window: that must not void what the other counted."""
    return end_of_window(demand, now) + _CLOCKS_DIFFER_MS


def end_of_window(demand: Demand, now: int) -> int:
    """When a window that begins now ends, in milliseconds since 1970."""
    return now + int(demand.seconds * 1000)


class Counters(Protocol):
    """Counts within windows of time. ``waits``: whether a call may have to wait for anything, and so may be cut
    short by a cancellation; what is counted in memory never is."""

    @property
    def waits(self) -> bool: ...

    async def take(self, demands: Sequence[Demand], now: int) -> Taken:
        """Count all demands (of different keys), or none; ``now`` in milliseconds since 1970.

        A cost of 0 counts nothing and is never refused: it looks. A store may count the demands one after the
        other and give back; never more than ``limit`` pass, but those counted only to be given back may for a
        moment refuse another call. So the demand likeliest to be refused comes first.
        """

    async def adjust(self, counter: Counter, change: int) -> None:
        """Add to a window if it still runs, whatever its limit; never below 0. Used to give back."""

    async def purge(self, now: int) -> None:
        """Forget windows that have ended; a store may do so by itself too."""


class UsageRecord(Record, frozen=True, kw_only=True):
    """Tokens used on one day (UTC) by one user with one key ('' for a session, or for nobody known), on one
    model. ``user_id`` is '' for all anonymous callers together. ``id`` follows from these four."""

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
        super().__post_init__()
        id_ = _usage_id(self.user_id, self.key_id, self.model, self.day)
        msgspec.structs.force_setattr(self, "id", id_)

    def plus(self, more: "UsageRecord") -> "UsageRecord":
        """The sum of two of the same user, key, model and day."""
        return msgspec.structs.replace(
            self, **{name: getattr(self, name) + getattr(more, name) for name in COUNTS}
        )


# Those who use a server use it again and again; a row is made for each request.
@lru_cache(1024)
def _usage_id(user_id: str, key_id: str, model: str, day: date) -> str:
    place = "\0".join((user_id, key_id, model, day.isoformat()))
    return f"usage_{hashlib.sha256(place.encode()).hexdigest()[:32]}"


COUNTS = ("requests", "prompt_tokens", "completion_tokens", "cached_tokens")
"""The fields of ``Usage`` that are added up."""


class UsageLog(Protocol):
    """Usage added up by user, key, model and day."""

    async def add(self, more: UsageRecord) -> None:
        """Add to what is there, durably. If it raises, it was added only where the answer alone was lost."""

    async def of(self, user_id: str, first: date, last: date) -> list[UsageRecord]:
        """A user's usage of these days, both included; by day, model and key."""
