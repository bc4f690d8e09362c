"""Serves /user/api-keys and what is below it: the caller's own API keys."""

import msgspec

from jan.errors import Conflict, NotFound
from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.paging import PageQuery
from jan.schema.scopes import KEYS, KEYS_OR_ITSELF, READ
from jan.schema.users import (
    ApiKeyChanges,
    ApiKeyInfo,
    ApiKeyList,
    CreatedApiKey,
    KeyRotation,
    NewApiKey,
    RevokeQuery,
)
from jan.storage.records import ApiKey


def _info(key: ApiKey) -> ApiKeyInfo:
    return msgspec.convert(key, ApiKeyInfo, from_attributes=True)


def _with_secret(key: ApiKey, secret: str) -> CreatedApiKey:
    return CreatedApiKey(key=secret, **msgspec.structs.asdict(_info(key)))


class ApiKeys(Handler):
    """The API keys of the caller."""

    @operation(
        summary="List API keys",
        access=READ,
        tag="user",
        query=PageQuery,
        response=ApiKeyList,
        examples=(Example(summary="My keys"),),
    )
    async def get(self, query: PageQuery) -> ApiKeyList:
        """List the caller's keys, revoked ones too, without their secrets, in order of creation, a page at a time:
        `next_cursor` of one page is the `cursor` of the next."""
        page = await self.services.keys.page(self.user_id, limit=query.limit, cursor=query.cursor)
        return ApiKeyList(
            data=[_info(key) for key in page.items],
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
        )

    @operation(
        summary="Generate an API key",
        access=KEYS,
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
        """Make a key. The answer's `key` is never shown again. A key can do no more than the credentials that make
        it: a key that is made by another key expires no later and may use no more tokens than that one, and its
        tokens are charged to the budgets of both. All keys of a user together may use what the user may."""
        created = await self.services.key_grants.create(self.user_id, self.identity, body, self.mint)
        return _with_secret(created.record, created.secret)


class OneApiKey(Handler):
    """One API key of the caller."""

    @operation(
        summary="Rename an API key",
        access=KEYS,
        tag="user",
        request=ApiKeyChanges,
        response=ApiKeyInfo,
        errors=(NotFound,),
        examples=(Example(summary="Another name", body={"name": "Laptop"}),),
    )
    async def patch(self, key_id: str, body: ApiKeyChanges) -> ApiKeyInfo:
        """Change the key's name, which is all that can be changed of it. A key renames only keys that can do no
        more than itself."""
        return _info(await self.services.key_grants.rename(self.user_id, self.identity, key_id, body.name))

    @operation(
        summary="Revoke an API key",
        access=KEYS_OR_ITSELF,
        tag="user",
        query=RevokeQuery,
        ends_credentials=True,
        response=ApiKeyInfo,
        errors=(NotFound,),
    )
    async def delete(self, key_id: str, query: RevokeQuery) -> ApiKeyInfo:
        """End the key. Every process of the server refuses it within a second, and ends what runs with it. A key
        revokes itself, or with the permission `keys` those that can do no more than itself."""
        grants = self.services.key_grants
        return _info(await grants.revoke(self.user_id, self.identity, key_id, cascade=query.cascade))


class ApiKeyRotation(Handler):
    """The replacement of a key."""

    @operation(
        summary="Rotate an API key",
        access=KEYS_OR_ITSELF,
        tag="user",
        request=KeyRotation | None,
        examples=(Example(summary="After a leak", body={"grace_seconds": 0}),),
        response=CreatedApiKey,
        creates=True,
        ends_credentials=True,
        errors=(NotFound, Conflict),
    )
    async def post(self, key_id: str, body: KeyRotation | None) -> CreatedApiKey:
        """Make a new key with the same name, permissions, end and budgets; both are charged to the same budgets.
        The old one works for `grace_seconds`, or the configured grace period, but manages no keys any more. What
        runs with it ends with the grace. A key rotates itself, or with the permission `keys` those that can do no
        more than itself."""
        grace = body.grace_seconds if body else None
        grants = self.services.key_grants
        rotated = await grants.rotate(self.user_id, self.identity, key_id, grace, self.mint)
        return _with_secret(rotated.record, rotated.secret)
