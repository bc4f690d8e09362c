"""What was used, and what is left."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jan.schema.sampling import Tally

_DEFAULT_DAYS = 30
_MOST_DAYS = 366


class UsageQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which days (UTC, both included; by default the last thirty), and for administrators whose."""

    first: Annotated[date, Meta(description="The first day, like 2026-01-31")] | UnsetType = msgspec.field(
        name="from", default=UNSET
    )
    last: Annotated[date, Meta(description="The last day")] | UnsetType = msgspec.field(name="to", default=UNSET)
    user_id: (
        Annotated[str, Meta(max_length=128, description="Another user; empty: all anonymous callers together")]
        | UnsetType
    ) = UNSET

    def days(self) -> tuple[date, date]:
        """First and last day; ValueError for too many, or none."""
        today = datetime.now(UTC).date()
        last = self.last or max(today, self.first or today)
        # Not before the calendar begins.
        first = self.first or date.fromordinal(max(1, last.toordinal() - _DEFAULT_DAYS + 1))
        if first > last:
            raise ValueError(f"from {first} is after to {last}")
        if last - first >= timedelta(days=_MOST_DAYS):
            raise ValueError(f"from {first} to {last} are more than {_MOST_DAYS} days")
        return first, last


class UsageTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Requests to models and their tokens; ``cached_tokens`` of the prompts were not computed again."""

    requests: Tally
    prompt_tokens: Tally
    completion_tokens: Tally
    cached_tokens: Tally
    total_tokens: Tally


class UsageRow(UsageTotals, frozen=True, kw_only=True):
    """A day's usage of one model with one key; ``api_key_id`` null: without a key."""

    day: date
    model: str
    api_key_id: str | None


class LimitStanding(msgspec.Struct, frozen=True, kw_only=True):
    """A limit: ``used`` and ``remaining`` of ``limit`` within the ``seconds`` that end at ``resets_at``."""

    name: str
    unit: Literal["requests", "tokens"]
    seconds: int
    limit: Tally
    used: Tally
    remaining: Tally
    resets_at: datetime


class UsageReport(msgspec.Struct, frozen=True, kw_only=True, rename={"first": "from", "last": "to"}):
    """A user's usage by day, model and key, and how the user's limits stand now."""

    object: Literal["usage"] = "usage"
    user_id: str
    first: date
    last: date
    data: list[UsageRow]
    totals: UsageTotals
    limits: list[LimitStanding]
