"""Credentials to identities: whose token or API key this is, and what it may do. Over the store's contract."""

import secrets
import time
from collections import OrderedDict
from contextlib import suppress
from datetime import timedelta

from jan.auth import api_keys
from jan.auth.tokens import TokenClaims, TokenSigner, looks_like_token
from jan.errors import AuthenticationFailed, NotFound, Unavailable, when_to_retry
from jan.schema.scopes import ADMIN_SCOPES, USER_SCOPES, Identity, Scope
from jan.storage.records import User, now
from jan.storage.repositories import Store

# A revocation elsewhere (another process, the command line) counts after this at the latest.
_CACHE_SECONDS = 0.9
# While the store is away, those who were known shortly before stay known for inference.
_STALE_SECONDS = 600.0
# Short enough that a revocation counts within a second of the store's return.
_BACK_OFF_SECONDS = 1.0
_CACHE_SIZE = 10_000
_TOUCH_EVERY = timedelta(minutes=1)


class Credentials:
    """Who may come in; those who were here shortly before are remembered."""

    def __init__(self, store: Store, tokens: TokenSigner) -> None:
        self._store = store
        self._tokens = tokens
        self._cache: OrderedDict[str, tuple[float, Identity]] = OrderedDict()
        self._ask_again_at = 0.0
        self._changes = 0

    async def identify(self, credential: str) -> Identity:
        """Who this token or API key belongs to; raises AuthenticationFailed.

        Raises Unavailable when the store is away and the credential was not seen shortly before.
        """
        slot = api_keys.hash_of(credential)
        if (known := self._known(slot, _CACHE_SECONDS)) is not None:
            return known
        began, changes = time.monotonic(), self._changes
        try:
            identity = await self._look_up(credential, slot)
        except Unavailable:
            if time.monotonic() >= self._ask_again_at:
                self._ask_again_at = time.monotonic() + _BACK_OFF_SECONDS
            if (known := self._known(slot, _STALE_SECONDS)) is not None:
                return known
            raise
        except AuthenticationFailed:
            self._cache.pop(slot, None)
            raise
        # What was read before something was revoked here must not be known after it.
        if changes == self._changes:
            self._remember(slot, identity, began)
        return identity

    def _known(self, slot: str, seconds: float) -> Identity | None:
        looked_up_at, identity = self._cache.get(slot, (0.0, None))
        if identity is None or time.monotonic() - looked_up_at >= seconds:
            return None
        # A token's end is in the token, and looked at before anything is fetched; a key's is only here.
        return None if identity.expires_at is not None and identity.expires_at <= now() else identity

    def _remember(self, slot: str, identity: Identity, looked_up_at: float) -> None:
        self._cache[slot] = (looked_up_at, identity)
        self._cache.move_to_end(slot)
        while len(self._cache) > _CACHE_SIZE:
            self._cache.popitem(last=False)

    def forget(self) -> None:
        """Something was revoked or changed here: look everybody up again."""
        self._changes += 1
        self._cache.clear()

    @staticmethod
    def recognises(credential: str) -> bool:
        """Whether a credential is meant for us: formed like our keys or like a token, good or not."""
        return api_keys.looks_like_key(credential) or looks_like_token(credential)

    async def _look_up(self, credential: str, slot: str) -> Identity:
        if api_keys.looks_like_key(credential):
            return await self._by_key(slot)
        if not looks_like_token(credential):
            raise wrong(f"this is neither an API key ({api_keys.PREFIX}...) nor a token of this server")
        return await self._by_token(self._tokens.verify(credential))

    def _check_outage(self) -> None:
        """Raises Unavailable while the store was found away a moment ago: each request would wait for it as
        long as the first one did, those that can go on without it too."""
        if time.monotonic() < self._ask_again_at:
            raise Unavailable(
                "the store is away",
                code="storage_unavailable",
                headers=when_to_retry(1000),
            )

    async def _by_key(self, key_hash: str) -> Identity:
        self._check_outage()
        key, at = await self._store.keys.find_by_hash(key_hash), now()
        if key is None or not secrets.compare_digest(key.hash, key_hash):
            raise wrong("the API key is not known")
        if not key.is_live(at):
            raise wrong("the API key was revoked" if key.revoked_at else "the API key has expired")
        user = await self.enabled_user(key.user_id)
        if key.last_used_at is None or at - key.last_used_at > _TOUCH_EVERY:
            with suppress(Unavailable):  # a store that can be read but not written keeps nobody out
                await self._store.keys.touch(key.id, at)
        allowed = scopes_of(user)
        scopes = frozenset(scope for scope in allowed if scope in key.permissions)
        return Identity(
            owner=user.id,
            user_id=user.id,
            scopes=scopes,
            key_id=key.id,
            expires_at=key.expires_at,
            budget=user.budget,
            key_budget=key.budget,
        )

    async def _by_token(self, claims: TokenClaims) -> Identity:
        if claims.for_exchange:  # not expired yet, where the grace is short
            raise wrong("this token opens nothing; exchange it with POST /api/v1/auth/refresh", "token_expired")
        self._check_outage()
        user = await self.enabled_user(claims.user_id)
        session = await self._store.sessions.find(claims.session_id)
        if session is None or session.ended_at is not None or session.user_id != user.id:
            raise wrong("the session was ended; sign in again", "session_ended")
        if user.valid_after is not None and claims.issued_at < user.valid_after:
            raise wrong("all sessions were ended; sign in again", "session_ended")
        return Identity(
            owner=user.id, user_id=user.id, scopes=scopes_of(user), session_id=session.id, budget=user.budget
        )

    async def enabled_user(self, user_id: str) -> User:
        """The user of this id; raises AuthenticationFailed if there is none, or none who may come in."""
        try:
            user = await self._store.users.get(user_id)
        except NotFound:
            raise wrong("its user does not exist any more") from None
        if user.disabled:
            raise wrong("the account is disabled", "account_disabled")
        return user


def scopes_of(user: User) -> frozenset[Scope]:
    """What a person's role allows."""
    return ADMIN_SCOPES if user.role == "admin" else USER_SCOPES


def wrong(reason: str, code: str = "invalid_api_key") -> AuthenticationFailed:
    """The refusal of a credential."""
    return AuthenticationFailed(reason, code=code, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
