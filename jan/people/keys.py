"""API keys: made, listed, renamed, rotated and revoked. The one way to their records."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import get_args

import msgspec

from jan.audit.acts import Auditor
from jan.auth import api_keys
from jan.auth.credentials import Credentials
from jan.errors import Conflict, NotFound
from jan.idempotency.ids import IdSource
from jan.schema.limits import KeyAccount, TokenBudget
from jan.schema.scopes import Scope
from jan.storage.paging import every_item
from jan.storage.records import ApiKey, Page, now
from jan.storage.repositories import Store

NO_BUDGET = TokenBudget()
_replace = msgspec.structs.replace


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a new key comes from: the credential that made it, and the accounts that its maker shares with it.

    A new key has an account of its own before these. The successor of a rotated key has these alone.
    """

    created_by: str | None = None
    charged_to: tuple[KeyAccount, ...] = ()


FROM_COMMAND_LINE = Origin()


class CreatedKey(msgspec.Struct, frozen=True):
    """A new key's record and its secret, which is known only now. Its ``repr`` hides the secret."""

    record: ApiKey
    secret: str

    def __repr__(self) -> str:
        return f"CreatedKey(id={self.record.id!r})"


class UserKeys:
    """The API keys of all users. Every method may raise Unavailable; NotFound stands for another's key too.

    A change returns once its audit entry is stored.
    """

    def __init__(self, store: Store, credentials: Credentials, audit: Auditor) -> None:
        self._store = store
        self._credentials = credentials
        self._audit = audit

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
        origin: Origin = FROM_COMMAND_LINE,
        ids: IdSource | None = None,
    ) -> CreatedKey:
        """Make a key for a user. Its id and secret are from ``ids``; an earlier attempt counts as this one."""
        created = _new_key(user_id, name, permissions, expires_at, budget, ids or IdSource())
        record = created.record
        charged_to = (*record.accounts, *origin.charged_to) if origin.charged_to else ()
        record = _replace(record, created_by=origin.created_by, charged_to=charged_to)
        created = _replace(created, record=record)
        try:
            await self._store.keys.create(created.record)
        except Conflict as error:
            created = _replace(created, record=await self._made_before(created.record, ids, error))
        await self._audit.record(
            "key.made", user_id=user_id, target=created.record.id, permissions=",".join(permissions)
        )
        return created

    async def rename(self, user_id: str, key_id: str, name: str) -> ApiKey:
        """Give a user's key another name and return it; raises NotFound."""
        renamed = await self._store.keys.rename(user_id, key_id, name)
        await self._audit.record("key.renamed", user_id=user_id, target=key_id)
        return renamed

    async def rotate(self, old: ApiKey, grace: timedelta, origin: Origin, ids: IdSource) -> CreatedKey:
        """Make a successor with the same name, permissions, end and budget; the old key works on for ``grace``.

        Raises NotFound, and Conflict if the key was revoked or rotated before.
        """
        new = _new_key(old.user_id, old.name, old.permissions, old.expires_at, old.budget, ids)
        record = _replace(new.record, created_by=origin.created_by, charged_to=origin.charged_to)
        try:
            record = await self._store.keys.rotate(old.user_id, old.id, record, now() + grace)
        except Conflict as error:
            record = await self._made_before(record, ids, error)
        self._credentials.forget()
        await self._audit.record("key.rotated", user_id=old.user_id, target=old.id, successor=record.id)
        return CreatedKey(record, new.secret)

    async def revoke(self, user_id: str, key_id: str, *, cascade: bool = False) -> ApiKey:
        """End a user's key at once and return it; raises NotFound.

        With ``cascade`` the keys that it made end too, and those that these made. The key ends first, so that it
        makes no more of them. If the store fails meanwhile, the same call ends the rest.
        """
        revoked = await self._store.keys.revoke(user_id, key_id, now())
        self._credentials.forget()
        await self._audit.record("key.revoked", user_id=user_id, target=key_id)
        while cascade and (made := _made_by(key_id, await self.all(user_id))):
            for key in made:
                await self._store.keys.revoke(user_id, key.id, now())
            self._credentials.forget()
            for key in made:
                await self._audit.record("key.revoked", user_id=user_id, target=key.id, made_by=key_id)
        return revoked

    async def _made_before(self, record: ApiKey, ids: IdSource | None, error: Conflict) -> ApiKey:
        """Return the same key, made by an earlier attempt at this request; raises ``error`` if there was none."""
        found = await self._store.keys.find(record.id) if ids is not None and ids.again else None
        if found is None or found.hash != record.hash:
            raise error
        return found


def _made_by(key_id: str, keys: Iterable[ApiKey]) -> list[ApiKey]:
    """Return the keys that are not revoked among those that a key made, and that these made in turn."""
    children: dict[str | None, list[ApiKey]] = {}
    for key in keys:
        children.setdefault(key.created_by, []).append(key)
    found: list[ApiKey] = []
    makers = [key_id]
    while makers:
        made = children.pop(makers.pop(), [])
        found += made
        makers += [key.id for key in made]
    return [key for key in found if key.revoked_at is None]


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
