"""GET /usage: tokens used, and how the limits and quotas stand."""

from collections.abc import Iterable
from datetime import UTC, datetime

from msgspec import UNSET

from jan.errors import InvalidRequest, NotFound
from jan.handler import Handler, Standing
from jan.operation import Example, operation
from jan.schema.scopes import READ
from jan.schema.usage import LimitStanding, UsageQuery, UsageReport, UsageRow, UsageTotals
from jan.storage.accounting import UsageRecord


class UsageSummary(Handler):
    """Tokens used, and how the limits and quotas stand."""

    @operation(
        summary="Usage by day, model and key",
        access=READ,
        tag="user",
        query=UsageQuery,
        response=UsageReport,
        errors=(NotFound,),
        examples=(Example(summary="The last thirty days"),),
    )
    async def get(self, query: UsageQuery) -> UsageReport:
        """Report the caller's usage, how much the limits leave at this moment, and how much of the quotas is used.
        Another user's usage needs the permission admin. The empty `user_id` stands for all anonymous callers
        together, without limits and quotas."""
        try:
            first, last = query.days()
        except ValueError as error:
            raise InvalidRequest(str(error), code="invalid_value", param="from") from None
        if query.user_id is UNSET or query.user_id == self.user_id:
            found = await self.services.usage.of_caller(self.identity, first, last)
        else:
            self.require("admin")
            found = await self.services.usage.of_user(query.user_id, first, last)
        return UsageReport(
            user_id=found.user_id,
            first=first,
            last=last,
            data=[_row(record) for record in found.records],
            totals=_totals(found.records),
            limits=[_standing(standing) for standing in found.standings],
            quotas=list(found.quotas),
        )


def _counts(row: UsageRecord) -> dict[str, int]:
    names = ("requests", "prompt_tokens", "completion_tokens", "cached_tokens")
    total = row.prompt_tokens + row.completion_tokens
    return {"total_tokens": total, **{name: getattr(row, name) for name in names}}


def _row(row: UsageRecord) -> UsageRow:
    return UsageRow(day=row.day, model=row.model, api_key_id=row.key_id or None, **_counts(row))


def _totals(rows: Iterable[UsageRecord]) -> UsageTotals:
    counts = [_counts(row) for row in rows]
    return UsageTotals(**{name: sum(row[name] for row in counts) for name in UsageTotals.__struct_fields__})


def _standing(standing: Standing) -> LimitStanding:
    window, counter = standing.window, standing.counter
    return LimitStanding(
        name=window.name,
        unit=window.unit,
        seconds=window.seconds,
        limit=window.limit,
        used=counter.used,
        remaining=standing.remaining,
        resets_at=datetime.fromtimestamp(counter.ends_at / 1000, UTC),
    )
