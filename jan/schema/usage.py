"""Token usage, and the current state of limits."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jan.schema.sampling import Tally

_DEFAULT_DAYS = 30
_MOST_DAYS = 366


class UsageQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a usage report. Days are UTC and both included; default: the last 30. Administrators may name
    a user."""

    first: Annotated[date, Meta(description="The first day, such as 2026-01-31")] | UnsetType = msgspec.field(
        name="from", default=UNSET
    )
    last: Annotated[date, Meta(description="The last day")] | UnsetType = msgspec.field(name="to", default=UNSET)
    user_id: (
        Annotated[
            str, Meta(max_length=128, description="Another user; empty means all anonymous callers together")
        ]
        | UnsetType
    ) = UNSET

    def days(self) -> tuple[date, date]:
        """Return the first and the last day. Raises ValueError if they are out of order or too far apart."""
        today = datetime.now(UTC).date()
        last = self.last or max(today, self.first or today)
        # Never before the beginning of the calendar.
        first = self.first or date.fromordinal(max(1, last.toordinal() - _DEFAULT_DAYS + 1))
        if first > last:
            raise ValueError(f"The day in `from` ({first}) is after the day in `to` ({last}).")
        if last - first >= timedelta(days=_MOST_DAYS):
            raise ValueError(f"From {first} to {last} is too long; allowed: {_MOST_DAYS} days.")
        return first, last


class UsageTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Requests to models and their tokens. ``cached_tokens`` is the part of the prompts that was not computed
    again."""

    requests: Tally
    prompt_tokens: Tally
    completion_tokens: Tally
    cached_tokens: Tally
    total_tokens: Tally


class UsageRow(UsageTotals, frozen=True, kw_only=True):
    """One day's usage of one model with one key. ``api_key_id`` is null for requests without a key."""

    day: date
    model: str
    api_key_id: str | None


class LimitStanding(msgspec.Struct, frozen=True, kw_only=True):
    """A limit of ``limit`` units in the window of ``seconds`` that ends at ``resets_at``."""

    name: str
    unit: Literal["requests", "tokens"]
    seconds: int
    limit: Tally
    used: Tally
    remaining: Tally
    resets_at: datetime


class QuotaStanding(msgspec.Struct, frozen=True, kw_only=True):
    """A quota of what the user stores. ``limit`` and ``remaining`` are null where there is none.

    ``bytes`` are those of messages as JSON. ``keys`` are those that are neither revoked nor replaced,
    ``shares`` links to shared conversations.
    """

    name: Literal["keys", "presets", "conversations", "messages", "bytes", "shares"]
    limit: Tally | None
    used: Tally
    remaining: Tally | None


class UsageReport(msgspec.Struct, frozen=True, kw_only=True, rename={"first": "from", "last": "to"}):
    """A user's usage by day, model and key, and the current state of the user's limits and quotas."""

    object: Literal["usage"] = "usage"
    user_id: str
    first: date
    last: date
    data: list[UsageRow]
    totals: UsageTotals
    limits: list[LimitStanding]
    quotas: list[QuotaStanding]
