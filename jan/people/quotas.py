"""Quotas of what users store, and how much of them is used."""

from typing import get_args

import msgspec

from jan.schema.limits import UNLIMITED, Quota
from jan.schema.usage import QuotaStanding
from jan.storage.repositories import Store

_NAMES = get_args(msgspec.structs.fields(QuotaStanding)[0].type)


class Quotas:
    """The quotas of all users. The store enforces them."""

    def __init__(self, store: Store, quota: Quota) -> None:
        self._store = store
        self._quota = quota

    async def standings(self, user_id: str) -> tuple[QuotaStanding, ...]:
        """Return how a user's quotas stand; an administrator's have no limit. Raises NotFound."""
        user, held = await self._store.users.get(user_id), await self._store.holdings.of(user_id)
        quota = UNLIMITED if user.role == "admin" else self._quota
        return tuple(_standing(name, getattr(held, name), getattr(quota, name)) for name in _NAMES)


def _standing(name: str, used: int, limit: int | None) -> QuotaStanding:
    remaining = None if limit is None else max(0, limit - used)
    return msgspec.convert({"name": name, "limit": limit, "used": used, "remaining": remaining}, QuotaStanding)
