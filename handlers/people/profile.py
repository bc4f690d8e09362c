"""The caller's own profile and API keys."""

from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec

from jan.errors import Conflict, InvalidRequest, NotFound, PermissionDenied
from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.scopes import READ, WRITE, Scope
from jan.schema.users import (
    ApiKeyChanges,
    ApiKeyInfo,
    ApiKeyList,
    CreatedApiKey,
    NewApiKey,
    ProfileChanges,
    UserProfile,
)
from jan.storage.records import ApiKey, User, UserChanges

_MANY = 1000


def profile_of(user: User) -> UserProfile:
    """A user's record in the wire's form."""
    return msgspec.convert(user, UserProfile, from_attributes=True)


def _info(key: ApiKey) -> ApiKeyInfo:
    return msgspec.convert(key, ApiKeyInfo, from_attributes=True)


def _created(key: ApiKey, secret: str) -> CreatedApiKey:
    return CreatedApiKey(key=secret, **msgspec.structs.asdict(_info(key)))


class Profile(Handler):
    """Who am I?"""

    @operation(
        summary="Get the current user's profile",
        access=READ,
        tag="user",
        response=UserProfile,
        examples=(Example(summary="Who am I?"),),
    )
    async def get(self) -> UserProfile:
        """The user whom the credentials belong to."""
        return profile_of(await self.services.store.users.get(self.user_id))

    @operation(
        summary="Change the current user's name",
        access=WRITE,
        tag="user",
        request=ProfileChanges,
        response=UserProfile,
        examples=(Example(summary="Another name", body={"name": "Ada Lovelace"}),),
    )
    async def patch(self, body: ProfileChanges) -> UserProfile:
        """The name is all that a user can change."""
        return profile_of(await self.services.store.users.update(self.user_id, UserChanges(name=body.name)))


class ApiKeys(Handler):
    """The caller's keys."""

    @operation(
        summary="List API keys",
        access=READ,
        tag="user",
        response=ApiKeyList,
        examples=(Example(summary="My keys"),),
    )
    async def get(self) -> ApiKeyList:
        """All keys of the user, revoked ones too, without their secrets."""
        page = await self.services.store.keys.page(self.user_id, limit=_MANY)
        return ApiKeyList(data=[_info(key) for key in page.items])

    @operation(
        summary="Generate an API key",
        access=WRITE,
        tag="user",
        request=NewApiKey,
        response=CreatedApiKey,
        creates=True,
        examples=(
            Example(
                summary="A key for development",
                body={"name": "Development Key", "permissions": ["read", "write"]},
            ),
        ),
    )
    async def post(self, body: NewApiKey) -> CreatedApiKey:
        """The answer's `key` is shown this once. A key can do no more than the credentials that make it, and
        one that is made by a key that expires does so no later; nor may it use more tokens than a key that makes
        it. All of a user's keys together may use what the user may."""
        permissions: tuple[Scope, ...] = tuple(dict.fromkeys(body.permissions))
        missing = [scope for scope in permissions if scope not in self.identity.scopes]
        if missing:
            raise PermissionDenied(
                f"these credentials have no permission '{missing[0]}' to give to a key", param="permissions"
            )
        if body.expires_at is not None and body.expires_at <= datetime.now(UTC):
            raise InvalidRequest("expires_at: must be in the future", param="expires_at")
        ends = self.identity.expires_at
        if ends is not None and (body.expires_at is None or body.expires_at > ends):
            raise PermissionDenied(
                f"expires_at: these credentials expire at {ends.isoformat()}, and so must a key that they make",
                param="expires_at",
            )
        self.services.limiter.check_key(self.identity, body.budget)
        created = await self.services.accounts.create_key(
            self.user_id, body.name, permissions, body.expires_at, body.budget, mint=self.mint
        )
        return _created(*created)


class OneApiKey(Handler):
    """One of the caller's keys."""

    @operation(
        summary="Rename an API key",
        access=WRITE,
        tag="user",
        request=ApiKeyChanges,
        response=ApiKeyInfo,
        errors=(NotFound,),
        examples=(Example(summary="Another name", body={"name": "Laptop"}),),
    )
    async def patch(self, key_id: str, body: ApiKeyChanges) -> ApiKeyInfo:
        """Only the name can be changed."""
        return _info(await self.services.store.keys.rename(self.user_id, key_id, body.name))

    @operation(summary="Revoke an API key", access=WRITE, tag="user", response=ApiKeyInfo, errors=(NotFound,))
    async def delete(self, key_id: str) -> ApiKeyInfo:
        """The key is refused from now on, within a second by every process of the server."""
        return _info(await self.services.accounts.revoke_key(self.user_id, key_id))


class ApiKeyRotation(Handler):
    """Replacing a key."""

    @operation(
        summary="Rotate an API key",
        access=WRITE,
        tag="user",
        response=CreatedApiKey,
        creates=True,
        errors=(NotFound, Conflict),
    )
    async def post(self, key_id: str) -> CreatedApiKey:
        """A new key with the same name, permissions and budgets; the old one stays good for the configured grace.
        Takes credentials that may themselves do all that the key may."""
        grace = timedelta(seconds=self.services.settings.auth.key_rotation_grace_seconds)
        rotated = await self.services.accounts.rotate_key(
            self.user_id,
            key_id,
            grace,
            allowed=self.identity.scopes,
            check_budget=partial(self.services.limiter.check_key, self.identity),
            mint=self.mint,
        )
        return _created(*rotated)
