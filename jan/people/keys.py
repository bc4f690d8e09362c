"""API keys: made, listed, renamed, rotated and revoked. The one way to their records."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import get_args

import msgspec

from jan.auth import api_keys
from jan.auth.credentials import Credentials
from jan.errors import Conflict, NotFound
from jan.idempotency.ids import IdSource
from jan.schema.limits import TokenBudget
from jan.schema.scopes import Scope
from jan.storage.paging import every_item
from jan.storage.records import ApiKey, Page, now
from jan.storage.repositories import Store

NO_BUDGET = TokenBudget()


class CreatedKey(msgspec.Struct, frozen=True):
    """A new key's record and its secret, which is known only now. Its ``repr`` hides the secret."""

    record: ApiKey
    secret: str

    def __repr__(self) -> str:
        return f"CreatedKey(id={self.record.id!r})"


class UserKeys:
    """The API keys of all users. Every method may raise Unavailable; NotFound stands for another's key too."""

    def __init__(self, store: Store, credentials: Credentials) -> None:
        self._store = store
        self._credentials = credentials

    async def find(self, key_id: str) -> ApiKey | None:
        """Return the key of this id whoever owns it, for administration; None if there is none."""
        return await self._store.keys.find(key_id)

    async def get(self, user_id: str, key_id: str) -> ApiKey:
        """Return a user's key; raises NotFound."""
        found = await self._store.keys.find(key_id)
        if found is None or found.user_id != user_id:
            raise NotFound("There is no such API key.")
        return found

    async def page(self, user_id: str, *, limit: int, cursor: str | None = None) -> Page[ApiKey]:
        """Return one page of a user's keys, revoked ones too, in order of creation.

        Raises InvalidRequest for a malformed cursor.
        """
        return await self._store.keys.page(user_id, limit=limit, cursor=cursor)

    async def all(self, user_id: str) -> list[ApiKey]:
        """Return every key of a user, revoked ones too, in order of creation."""
        return await every_item(partial(self._store.keys.page, user_id))

    async def create(
        self,
        user_id: str,
        name: str,
        permissions: tuple[Scope, ...],
        expires_at: datetime | None = None,
        budget: TokenBudget = NO_BUDGET,
        *,
        ids: IdSource | None = None,
    ) -> CreatedKey:
        """Make a key for a user. Its id and secret are from ``ids``; an earlier attempt counts as this one."""
        created = _new_key(user_id, name, permissions, expires_at, budget, ids or IdSource())
        try:
            await self._store.keys.create(created.record)
        except Conflict as error:
            return CreatedKey(await self._made_before(created.record, ids, error), created.secret)
        return created

    async def rename(self, user_id: str, key_id: str, name: str) -> ApiKey:
        """Give a user's key another name and return it; raises NotFound."""
        return await self._store.keys.rename(user_id, key_id, name)

    async def rotate(self, old: ApiKey, grace: timedelta, ids: IdSource) -> CreatedKey:
        """Make a successor with the same name, permissions, end and budget; the old key works on for ``grace``.

        Raises NotFound, and Conflict if the key was revoked or rotated before.
        """
        new = _new_key(old.user_id, old.name, old.permissions, old.expires_at, old.budget, ids)
        try:
            record = await self._store.keys.rotate(old.user_id, old.id, new.record, now() + grace)
        except Conflict as error:
            record = await self._made_before(new.record, ids, error)
        self._credentials.forget()
        return CreatedKey(record, new.secret)

    async def revoke(self, user_id: str, key_id: str) -> ApiKey:
        """End a user's key at once and return it; raises NotFound."""
        revoked = await self._store.keys.revoke(user_id, key_id, now())
        self._credentials.forget()
        return revoked

    async def _made_before(self, record: ApiKey, ids: IdSource | None, error: Conflict) -> ApiKey:
        """Return the same key, made by an earlier attempt at this request; raises ``error`` if there was none."""
        found = await self._store.keys.find(record.id) if ids is not None and ids.again else None
        if found is None or found.hash != record.hash:
            raise error
        return found


def parse_scopes(names: Iterable[str]) -> tuple[Scope, ...]:
    """Turn names into scopes, each once, in the order of their declaration; raises ValueError for unknown ones."""
    wanted, known = set(names), get_args(Scope)
    if unknown := sorted(wanted.difference(known)):
        raise ValueError(f"Unknown permission '{unknown[0]}'; allowed: {', '.join(known)}.")
    return tuple(scope for scope in known if scope in wanted)


def _new_key(
    user_id: str,
    name: str,
    permissions: tuple[str, ...],
    expires_at: datetime | None,
    budget: TokenBudget,
    ids: IdSource,
) -> CreatedKey:
    secret = api_keys.generate(ids.token_bytes(api_keys.SECRET_BYTES))
    record = ApiKey(
        id=ids.new_id("key"),
        user_id=user_id,
        name=name,
        prefix=api_keys.prefix_of(secret),
        hash=api_keys.hash_of(secret),
        permissions=permissions,
        expires_at=expires_at,
        tokens_per_minute=budget.tokens_per_minute,
        tokens_per_day=budget.tokens_per_day,
    )
    return CreatedKey(record, secret)
