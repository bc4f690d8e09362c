"""The one rule of what a credential may do to others, for keys that are made, rotated, renamed and revoked.

A session is the person, who may end or rename every key of theirs. A key manages others only with the permission
``keys``, and only those that can do no more than itself: permissions, end and token budget. Without the permission
it may rotate and revoke itself. A key that was replaced manages nothing, so rotating a leaked key ends the thief.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from jan.auth.credentials import scopes_of
from jan.errors import InvalidRequest, PermissionDenied
from jan.idempotency.ids import IdSource
from jan.limits import Limiter
from jan.people.keys import CreatedKey, Origin, UserKeys
from jan.schema.limits import KeyAccount, TokenBudget
from jan.schema.scopes import Identity
from jan.schema.users import NewApiKey
from jan.storage.records import ApiKey, User, now, to_milliseconds

# Each key that made another adds the windows of its budget to every request of the other.
_LONGEST_LINE = 8


class Power(msgspec.Struct, frozen=True, kw_only=True):
    """The most that a credential may do: its permissions, its end and its token budget."""

    permissions: tuple[str, ...]
    expires_at: datetime | None = None
    budget: TokenBudget = TokenBudget()


class KeyGrants:
    """Manages the keys of a caller within what the caller may do.

    A rotated key still works for ``rotation_grace_seconds``, or for a shorter time that the caller asks for.
    """

    def __init__(self, keys: UserKeys, limiter: Limiter, rotation_grace_seconds: float) -> None:
        self._keys = keys
        self._limiter = limiter
        self._grace_seconds = rotation_grace_seconds

    async def create(self, user_id: str, caller: Identity, wanted: NewApiKey, ids: IdSource) -> CreatedKey:
        """Make a key of a user for a caller who is this user.

        A key that is made by a key is charged to its maker's budget too. Raises PermissionDenied for a permission,
        an end or a budget beyond those of the caller's credentials, and InvalidRequest for an end that has passed.
        """
        if wanted.expires_at is not None and wanted.expires_at <= now():
            raise InvalidRequest("expires_at: The time must be in the future.", param="expires_at")
        permissions = tuple(dict.fromkeys(wanted.permissions))
        ends = wanted.expires_at and to_milliseconds(wanted.expires_at)
        maker = await self._key_in_use(caller)
        self._check(caller, Power(permissions=permissions, expires_at=ends, budget=wanted.budget))
        origin = Origin(created_by=_credential_of(caller), charged_to=_line(maker.accounts if maker else ()))
        created = await self._keys.create(
            user_id, wanted.name, permissions, ends, wanted.budget, origin=origin, ids=ids
        )
        return await self._outlived(caller, created)

    async def rotate(
        self, user_id: str, caller: Identity, key_id: str, grace_seconds: float | None, ids: IdSource
    ) -> CreatedKey:
        """Make a successor of a user's key for a caller who is this user. The old one ends after the grace.

        The successor is charged to the accounts of the old key, and to those of a key that rotates another. Raises
        PermissionDenied for a key beyond the caller's credentials, InvalidRequest for a longer grace than is
        configured, NotFound, and Conflict if the key was revoked or rotated before.
        """
        grace = self._grace_seconds if grace_seconds is None else grace_seconds
        if grace > self._grace_seconds:
            raise InvalidRequest(
                f"grace_seconds: Too long; allowed: 0 to {self._grace_seconds:g}.", param="grace_seconds"
            )
        old, maker = await self._may_touch(user_id, caller, key_id, gives_secret=True)
        first, *others = dict.fromkeys((*old.accounts, *(maker.accounts if maker else ())))
        origin = Origin(created_by=_credential_of(caller), charged_to=(first, *_line(others)))
        rotated = await self._keys.rotate(old, timedelta(seconds=grace), origin, ids)
        # A key that rotated itself is replaced now.
        return rotated if old.id == caller.key_id else await self._outlived(caller, rotated)

    async def _outlived(self, caller: Identity, made: CreatedKey) -> CreatedKey:
        """Return a key that was made. Raises PermissionDenied, and revokes it, if its maker was revoked meanwhile.

        The revocation can't have seen the key that it should have taken along.
        """
        try:
            await self._key_in_use(caller)
        except PermissionDenied:
            await self._keys.revoke(made.record.user_id, made.record.id)
            raise
        return made

    async def rename(self, user_id: str, caller: Identity, key_id: str, name: str) -> ApiKey:
        """Rename a user's key and return it. Raises NotFound, and PermissionDenied as ``rotate`` does."""
        await self._may_touch(user_id, caller, key_id)
        return await self._keys.rename(user_id, key_id, name)

    async def revoke(self, user_id: str, caller: Identity, key_id: str, *, cascade: bool) -> ApiKey:
        """End a user's key and return it; with ``cascade`` also all keys that it made, and that these made.

        Raises NotFound, and PermissionDenied as ``rotate`` does.
        """
        await self._may_touch(user_id, caller, key_id)
        if cascade and "keys" not in caller.scopes:
            raise PermissionDenied(
                "cascade: These credentials lack the permission 'keys' to revoke other keys.", param="cascade"
            )
        return await self._keys.revoke(user_id, key_id, cascade=cascade)

    async def check_sessions(self, user: User, caller: Identity) -> None:
        """Raise PermissionDenied for a key that can do less than its user's sessions: it must not end them."""
        await self._key_in_use(caller)
        self._check(caller, Power(permissions=tuple(sorted(scopes_of(user)))))

    async def _may_touch(
        self, user_id: str, caller: Identity, key_id: str, *, gives_secret: bool = False
    ) -> tuple[ApiKey, ApiKey | None]:
        """Return a user's key that the caller may change or end, and the key that the caller came with, if any."""
        own = await self._key_in_use(caller)
        key = await self._keys.get(user_id, key_id)
        # What ends or renames a key gives nobody more than before, so a person may always do it.
        person = own is None and not gives_secret
        if not person and key.id != caller.key_id:
            self._check(caller, Power(permissions=key.permissions, expires_at=key.expires_at, budget=key.budget))
        return key, own

    async def _key_in_use(self, caller: Identity) -> ApiKey | None:
        """Return the caller's own key, None for a session. Raises PermissionDenied if the key was replaced."""
        if caller.key_id is None:
            return None
        own = await self._keys.find(caller.key_id)
        if own is None or own.replaced_by or not own.is_live(now()):
            raise PermissionDenied(
                "This key was rotated or revoked, so it manages no keys and sessions any more. Use its successor"
                " or sign in."
            )
        return own

    def _check(self, caller: Identity, power: Power) -> None:
        """Raise PermissionDenied if a credential of this power could do more than the caller's credentials."""
        if missing := [name for name in power.permissions if name not in caller.scopes]:
            raise PermissionDenied(
                f"permissions: These credentials lack the permission '{missing[0]}', and must not make or"
                " manage what has it.",
                param="permissions",
            )
        ends = caller.expires_at
        if ends is not None and (power.expires_at is None or power.expires_at > ends):
            raise PermissionDenied(
                f"expires_at: These credentials expire at {ends.isoformat()}, and must not make or manage what"
                " works longer.",
                param="expires_at",
            )
        if field := self._limiter.excess_of_key(caller, power.budget):
            raise PermissionDenied(
                f"{field}: Too large. A key makes and manages only keys with no larger budget than its own.",
                param=field,
            )


def _credential_of(caller: Identity) -> str | None:
    return caller.key_id or caller.session_id


def _line(accounts: Iterable[KeyAccount]) -> tuple[KeyAccount, ...]:
    """Return the accounts that a new key is charged to beside its own. Raises PermissionDenied for too many."""
    line = tuple(accounts)
    if len(line) > _LONGEST_LINE:
        raise PermissionDenied(
            f"Too many keys made one another in a row; allowed: {_LONGEST_LINE}. Make this key by an earlier one,"
            " or in a session."
        )
    return line
