"""Keys that callers make and rotate by themselves: a caller gives a key no more than the caller has."""

from datetime import timedelta

from jan.errors import InvalidRequest, PermissionDenied
from jan.idempotency.ids import IdSource
from jan.limits import Limiter
from jan.people.keys import CreatedKey, UserKeys
from jan.schema.scopes import Identity, Scope
from jan.schema.users import NewApiKey
from jan.storage.records import ApiKey, now


class KeyGrants:
    """Makes keys within what their maker may do. A rotated key still works for ``rotation_grace_seconds``."""

    def __init__(self, keys: UserKeys, limiter: Limiter, rotation_grace_seconds: float) -> None:
        self._keys = keys
        self._limiter = limiter
        self._rotation_grace = timedelta(seconds=rotation_grace_seconds)

    async def create(self, user_id: str, caller: Identity, wanted: NewApiKey, ids: IdSource) -> CreatedKey:
        """Make a key of a user for a caller who is this user.

        Raises PermissionDenied for a permission, an end or a budget beyond those of the caller's credentials, and
        InvalidRequest for an end that has passed.
        """
        permissions: tuple[Scope, ...] = tuple(dict.fromkeys(wanted.permissions))
        if missing := [scope for scope in permissions if scope not in caller.scopes]:
            raise PermissionDenied(
                f"permissions: These credentials have no permission '{missing[0]}' to give to a key.",
                param="permissions",
            )
        _check_end(caller, wanted)
        self._limiter.check_key(caller, wanted.budget)
        return await self._keys.create(
            user_id, wanted.name, permissions, wanted.expires_at, wanted.budget, ids=ids
        )

    async def rotate(self, user_id: str, caller: Identity, key_id: str, ids: IdSource) -> CreatedKey:
        """Make a successor of a user's key for a caller who is this user.

        The successor's secret opens all that the key does, so this raises PermissionDenied for a key that may do
        or use more than the caller. Raises NotFound, and Conflict if the key was revoked or rotated before.
        """
        old = await self._keys.get(user_id, key_id)
        self._check_all_of(old, caller)
        return await self._keys.rotate(old, self._rotation_grace, ids)

    def _check_all_of(self, key: ApiKey, caller: Identity) -> None:
        if missing := [name for name in key.permissions if name not in caller.scopes]:
            raise PermissionDenied(f"The key has the permission '{missing[0]}', which these credentials lack.")
        self._limiter.check_key(caller, key.budget)


def _check_end(caller: Identity, wanted: NewApiKey) -> None:
    if wanted.expires_at is not None and wanted.expires_at <= now():
        raise InvalidRequest("expires_at: The time must be in the future.", param="expires_at")
    ends = caller.expires_at
    if ends is not None and (wanted.expires_at is None or wanted.expires_at > ends):
        raise PermissionDenied(
            f"expires_at: These credentials expire at {ends.isoformat()}, and so must a key that they make.",
            param="expires_at",
        )
