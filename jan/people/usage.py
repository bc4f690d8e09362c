"""Usage: what a user's requests took on some days, and how much the user's limits leave."""

from datetime import date

import msgspec

from jan.limits import Standing, UsageLimits
from jan.people.quotas import Quotas
from jan.people.users import Users
from jan.schema.scopes import Identity
from jan.schema.usage import QuotaStanding
from jan.storage.accounting import UsageRecord


class UserUsage(msgspec.Struct, frozen=True, kw_only=True):
    """A user's usage, one record for each day, model and key, and how the user's limits and quotas stand now.

    ``user_id`` is "" for all anonymous callers together, who have no limits in common.
    """

    user_id: str
    records: list[UsageRecord]
    standings: tuple[Standing, ...]
    quotas: tuple[QuotaStanding, ...]


class UsageReports:
    """Reports usage from the ledger. Every method may raise Unavailable."""

    def __init__(self, users: Users, limits: UsageLimits, quotas: Quotas) -> None:
        self._users = users
        self._ledger = limits.ledger
        self._limiter = limits.limiter
        self._quotas = quotas

    async def of_caller(self, caller: Identity, first: date, last: date) -> UserUsage:
        """Report the caller's usage of these days (UTC, both included)."""
        user_id = caller.user_id or ""
        records = await self._ledger.usage(user_id, first, last)
        if caller.anonymous:
            return UserUsage(user_id=user_id, records=records, standings=(), quotas=())
        standings, quotas = await self._limiter.standings(caller), await self._quotas.standings(user_id)
        return UserUsage(user_id=user_id, records=records, standings=standings, quotas=quotas)

    async def of_user(self, user_id: str, first: date, last: date) -> UserUsage:
        """Report anybody's usage of these days; "" stands for all anonymous callers. Raises NotFound."""
        if not user_id:
            return await self.of_caller(Identity(owner=""), first, last)
        user = await self._users.get(user_id)
        return await self.of_caller(Identity(owner=user.id, user_id=user.id, budget=user.budget), first, last)
