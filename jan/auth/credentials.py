"""Turns credentials into identities: whose token or API key it is, and what it may do."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from msgspec.structs import replace

from jan.auth import api_keys
from jan.auth.tokens import TokenClaims, TokenSigner, looks_like_token
from jan.errors import AuthenticationFailed, NotFound, PermissionDenied, Unavailable, retry_headers
from jan.schema.scopes import ADMIN_SCOPES, USER_SCOPES, Identity, Scope
from jan.storage.records import ApiKey, User, now
from jan.storage.repositories import Store
from jan.storage.session_records import RefreshSession

# A revocation by another process or the command line takes effect after at most this time.
_CACHE_SECONDS = 0.9
# While the store is unreachable, recently seen callers may still use the models for this long.
_STALE_SECONDS = 600.0
# Short enough that a revocation takes effect within a second of the store's return.
_BACK_OFF_SECONDS = 1.0
_CACHE_SIZE = 10_000
_TOUCH_EVERY = timedelta(minutes=1)


class Credentials:
    """Identifies callers. Recently seen ones are cached.

    ``idle`` is how long a session whose token is in a cookie lasts without being used.
    """

    def __init__(self, store: Store, tokens: TokenSigner, idle: timedelta) -> None:
        self._store = store
        self._tokens = tokens
        self._idle = idle
        self._cache: OrderedDict[str, tuple[float, Identity]] = OrderedDict()
        self._ask_again_at = 0.0
        self._changes = 0
        #: Called when something was revoked or changed in this process.
        self.on_change: Callable[[], None] = lambda: None

    async def identify(self, credential: str, *, in_cookie: bool = False) -> Identity:
        """Return the identity that this token or API key belongs to. Raises AuthenticationFailed.

        A token that came ``in_cookie`` is accepted only if it was made for a cookie, and any other only if it was
        not. Raises Unavailable if the store is unreachable and the credential was not seen recently.
        """
        credential_hash = api_keys.hash_of(f"cookie {credential}" if in_cookie else credential)
        if (known := self._known(credential_hash, _CACHE_SECONDS)) is not None:
            return known
        began, changes = time.monotonic(), self._changes
        try:
            look_up = self._by_cookie(credential) if in_cookie else self._look_up(credential, credential_hash)
            identity = await look_up
        except Unavailable:
            if time.monotonic() >= self._ask_again_at:
                self._ask_again_at = time.monotonic() + _BACK_OFF_SECONDS
            if (known := self._known(credential_hash, _STALE_SECONDS)) is not None:
                return known
            raise
        except AuthenticationFailed:
            self._cache.pop(credential_hash, None)
            raise
        # An identity read before a revocation must not be cached after it.
        if changes == self._changes:
            self._remember(credential_hash, identity, began)
        return identity

    def _known(self, credential_hash: str, seconds: float) -> Identity | None:
        looked_up_at, identity = self._cache.get(credential_hash, (0.0, None))
        if identity is None or time.monotonic() - looked_up_at >= seconds:
            return None
        # The end of a token is in the token and checked before any look-up. The end of a key is known only here.
        return None if identity.expires_at is not None and identity.expires_at <= now() else identity

    def _remember(self, credential_hash: str, identity: Identity, looked_up_at: float) -> None:
        self._cache[credential_hash] = (looked_up_at, identity)
        self._cache.move_to_end(credential_hash)
        while len(self._cache) > _CACHE_SIZE:
            self._cache.popitem(last=False)

    def forget(self) -> None:
        """Forget all cached identities, because something was revoked or changed."""
        self._changes += 1
        self._cache.clear()
        self.on_change()

    @staticmethod
    def recognises(credential: str) -> bool:
        """Return True if a credential has the form of our keys or of a token, valid or not."""
        return api_keys.looks_like_key(credential) or looks_like_token(credential)

    async def _look_up(self, credential: str, credential_hash: str) -> Identity:
        if api_keys.looks_like_key(credential):
            return await self._by_key(credential_hash)
        if not looks_like_token(credential):
            raise wrong(f"The credential is neither an API key ({api_keys.PREFIX}...) nor a token of this server.")
        claims = self._tokens.verify(credential)
        if claims.for_exchange:  # not expired yet if the grace period is short
            raise wrong("This token must first be exchanged with POST /api/v1/auth/refresh.", "token_expired")
        if claims.in_cookie:
            raise wrong("The token of a cookie is accepted only in that cookie.", "invalid_token")
        return await self._of_session(claims, *await self._session_of(claims))

    async def _by_cookie(self, token: str) -> Identity:
        """Return the identity of a cookie's token. Its session ends if nobody uses it."""
        try:
            claims = self._tokens.verify(token)
        except AuthenticationFailed as error:
            if error.code == "token_expired":
                raise wrong("The session has ended. Sign in again.", "session_ended") from None
            raise
        if not claims.in_cookie:
            raise wrong("The token in the cookie was not made for a cookie.", "invalid_token")
        (user, session), at = await self._session_of(claims), now()
        if at - session.last_used_at > self._idle:
            raise wrong("The session was not used for too long. Sign in again.", "session_ended")
        identity = await self._of_session(claims, user, session)
        if at - session.last_used_at > _TOUCH_EVERY:
            with suppress(Unavailable):  # a store that can be read but not written must not refuse anybody
                await self._store.sessions.touch(session.id, at)
        return identity

    def _check_outage(self) -> None:
        """Raise Unavailable if the store was found unreachable a moment ago.

        Otherwise each request would wait for the store's timeout, including those that can be served without it.
        """
        if time.monotonic() < self._ask_again_at:
            raise Unavailable(
                "The store can't be reached. Try again later.",
                code="storage_unavailable",
                headers=retry_headers(1000),
            )

    async def _by_key(self, key_hash: str) -> Identity:
        self._check_outage()
        key = await self._store.keys.find_by_hash(key_hash)
        if key is not None and not secrets.compare_digest(key.hash, key_hash):
            key = None
        return await self._of_key(key)

    async def _of_key(self, key: ApiKey | None) -> Identity:
        at = now()
        key = accepted_key(key, at)
        user = await self.enabled_user(key.user_id)
        if key.last_used_at is None or at - key.last_used_at > _TOUCH_EVERY:
            with suppress(Unavailable):  # a store that can be read but not written must not refuse anybody
                await self._store.keys.touch(key.id, at)
        return Identity(
            owner=user.id,
            user_id=user.id,
            scopes=scopes_of(user, key),
            key_id=key.id,
            expires_at=key.expires_at,
            budget=user.budget,
            accounts=key.accounts,
        )

    async def _session_of(self, claims: TokenClaims) -> tuple[User, RefreshSession]:
        """Return the user and the session of a token. Raises AuthenticationFailed if the session has ended."""
        self._check_outage()
        user = await self.enabled_user(claims.user_id)
        session = await self._store.sessions.find(claims.session_id)
        return user, accepted_session(session, user, issued_at=claims.issued_at)

    async def _of_session(self, claims: TokenClaims, user: User, session: RefreshSession) -> Identity:
        """Return the identity of a session: the user, or the key that the session was begun with."""
        if session.key_id is not None:
            identity = await self._of_key(await self._store.keys.find(session.key_id))
            return replace(identity, session_id=session.id, issued_at=claims.issued_at)
        return Identity(
            owner=user.id,
            user_id=user.id,
            scopes=scopes_of(user),
            session_id=session.id,
            issued_at=claims.issued_at,
            budget=user.budget,
        )

    async def identity_of(
        self, user_id: str, *, key_id: str | None, session_id: str | None, issued_at: datetime | None
    ) -> Identity:
        """Return the identity of work that was asked for with these credentials, which may have expired meanwhile.

        Raises AuthenticationFailed if they are revoked, and Unavailable if the store does not say so.
        """
        user, key = await self.enabled_user(user_id), None
        if key_id is not None:
            key = await self._store.keys.find(key_id)
            key = accepted_key(key, now() if key is not None and key.replaced_by else None)
        if session_id is not None:
            accepted_session(await self._store.sessions.find(session_id), user, issued_at=issued_at)
        return Identity(
            owner=user.id,
            user_id=user.id,
            scopes=scopes_of(user, key),
            key_id=key_id,
            session_id=session_id,
            issued_at=issued_at,
            expires_at=None if key is None else key.expires_at,
            budget=user.budget,
            accounts=() if key is None else key.accounts,
        )

    async def enabled_user(self, user_id: str) -> User:
        """Return the user with this id. Raises AuthenticationFailed if there is none or the account is
        disabled."""
        try:
            user = await self._store.users.get(user_id)
        except NotFound:
            user = None
        return accepted_user(user)


def accepted_key(key: ApiKey | None, at: datetime | None) -> ApiKey:
    """Return a key that is accepted at this time; None stands for any time before its end.

    Raises AuthenticationFailed.
    """
    if key is None:
        raise wrong("The API key is not known.")
    if key.revoked_at is not None:
        raise wrong("The API key was revoked.")
    if at is not None and not key.is_live(at):
        raise wrong("The API key was rotated." if key.replaced_by else "The API key has expired.")
    return key


def accepted_user(user: User | None) -> User:
    """Return a user whose credentials are accepted. Raises AuthenticationFailed."""
    if user is None or user.deleted_at is not None:
        raise wrong("The user of this credential does not exist any more.")
    if user.disabled:
        raise wrong("The account is disabled.", "account_disabled")
    return user


def accepted_session(session: RefreshSession | None, user: User, *, issued_at: datetime | None) -> RefreshSession:
    """Return the session of a user's token that was issued then. Raises AuthenticationFailed if it has ended."""
    if session is None or session.ended_at is not None or session.user_id != user.id:
        raise wrong("The session has ended. Sign in again.", "session_ended")
    if user.valid_after is not None and issued_at is not None and issued_at < user.valid_after:
        raise wrong("All sessions were ended. Sign in again.", "session_ended")
    return session


def scopes_of(user: User, key: ApiKey | None = None) -> frozenset[Scope]:
    """Return the scopes that a user's role allows and, with a key, the key has."""
    allowed = ADMIN_SCOPES if user.role == "admin" else USER_SCOPES
    return allowed if key is None else frozenset(scope for scope in allowed if scope in key.permissions)


def check_scopes(identity: Identity, *scopes: Scope) -> None:
    """Raise PermissionDenied for a caller who lacks one of the scopes."""
    for scope in scopes:
        if scope not in identity.scopes:
            has = ", ".join(sorted(identity.scopes)) or "none"
            raise PermissionDenied(f"This needs the permission '{scope}'. These credentials have: {has}.")


def wrong(message: str, code: str = "invalid_api_key") -> AuthenticationFailed:
    """Make the error that refuses a credential (RFC 6750, section 3)."""
    return AuthenticationFailed(message, code=code, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
