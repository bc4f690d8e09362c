"""GET /usage."""

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from jan.errors import InvalidRequest, NotFound
from jan.handler import Handler, Standing
from jan.operation import Example, operation
from jan.schema.scopes import READ, Identity
from jan.schema.usage import LimitStanding, UsageQuery, UsageReport, UsageRow, UsageTotals
from jan.storage.accounting import UsageRecord as Record


class UsageSummary(Handler):
    """Tokens used, and limits."""

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
        """The caller's usage, and how much the limits leave at this moment. Another user's takes the permission
        admin; what all anonymous callers used together stands under the empty `user_id`, without limits."""
        try:
            first, last = query.days()
        except ValueError as error:
            raise InvalidRequest(str(error), code="invalid_value", param="from") from None
        whom = await self._whom(query)
        rows = await self.services.ledger.usage(whom.user_id or "", first, last)
        standings = () if whom.anonymous else await self.services.limiter.standings(whom)
        return UsageReport(
            user_id=whom.user_id or "",
            first=first,
            last=last,
            data=[_row(row) for row in rows],
            totals=_totals(rows),
            limits=[_standing(standing) for standing in standings],
        )

    async def _whom(self, query: UsageQuery) -> Identity:
        if query.user_id is msgspec.UNSET or query.user_id == self.user_id:
            return self.identity
        self.require("admin")
        if not query.user_id:
            return Identity(owner="")
        user = await self.services.store.users.get(query.user_id)
        return Identity(owner=user.id, user_id=user.id, budget=user.budget)


def _counts(row: Record) -> dict[str, int]:
    names = ("requests", "prompt_tokens", "completion_tokens", "cached_tokens")
    total = row.prompt_tokens + row.completion_tokens
    return {"total_tokens": total, **{name: getattr(row, name) for name in names}}


def _row(row: Record) -> UsageRow:
    return UsageRow(day=row.day, model=row.model, api_key_id=row.key_id or None, **_counts(row))


def _totals(rows: Iterable[Record]) -> UsageTotals:
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
