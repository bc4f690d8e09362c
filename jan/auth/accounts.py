"""Credentials to identities, and the life of sessions and API keys: over the store's contract, not a backend."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, get_args

import msgspec
import structlog

from jan.auth import api_keys
from jan.auth.scopes import ADMIN_SCOPES, USER_SCOPES, Identity, Scope
from jan.auth.tokens import Claims, Tokens, looks_like_token, new_jti
from jan.errors import AuthenticationFailed, Conflict, NotFound, PermissionDenied, Unavailable
from jan.mint import Mint
from jan.schema.limits import TokenBudget
from jan.storage.base import Store
from jan.storage.records import ApiKey, RefreshSession, User, UserChanges, now

log = structlog.get_logger(__name__)

# A revocation elsewhere (another process, the command line) counts after this at the latest.
_CACHE_SECONDS = 0.9
# While the store is away, those who were known shortly before stay known for inference.
_STALE_SECONDS = 600.0
# Short enough that a revocation counts within a second of the store's return.
_BACK_OFF_SECONDS = 1.0
_CACHE_SIZE = 10_000
# How long a token that is only for exchange can be exchanged.
_EXCHANGE_WITHIN = timedelta(minutes=1)
_TOUCH_EVERY = timedelta(minutes=1)
NO_BUDGET = TokenBudget()


class IssuedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token for its owner; never logged, so it hides itself."""

    token: str
    expires_at: datetime
    user: User

    def __repr__(self) -> str:
        return f"IssuedToken(user={self.user.id!r})"


class Accounts:
    """Who may come in. ``refresh_grace``: how long after its end a token can still be exchanged, once;
    ``session_lifetime``: the longest that a session can be prolonged."""

    def __init__(
        self, store: Store, tokens: Tokens, *, refresh_grace: timedelta, session_lifetime: timedelta
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._grace = refresh_grace
        self._session_lifetime = session_lifetime
        self._cache: OrderedDict[str, tuple[float, Identity]] = OrderedDict()
        self._ask_again_at = 0.0
        self._changes = 0

    # --- credentials to identities ------------------------------------------------------------------

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
            raise _wrong(f"this is neither an API key ({api_keys.PREFIX}...) nor a token of this server")
        return await self._by_token(self._tokens.verify(credential))

    def _check_outage(self) -> None:
        """Raises Unavailable while the store was found away a moment ago: each request would wait for it as
        long as the first one did, those that can go on without it too."""
        if time.monotonic() < self._ask_again_at:
            raise Unavailable(
                "the store is away",
                code="storage_unavailable",
                headers={"Retry-After": "1", "retry-after-ms": "1000"},
            )

    async def _by_key(self, key_hash: str) -> Identity:
        self._check_outage()
        key, at = await self._store.keys.find_by_hash(key_hash), now()
        if key is None or not secrets.compare_digest(key.hash, key_hash):
            raise _wrong("the API key is not known")
        if not key.is_live(at):
            raise _wrong("the API key was revoked" if key.revoked_at else "the API key has expired")
        user = await self._enabled_user(key.user_id)
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

    async def _by_token(self, claims: Claims) -> Identity:
        if claims.for_exchange:  # not expired yet, where the grace is short
            raise _wrong("this token opens nothing; exchange it with POST /api/v1/auth/refresh", "token_expired")
        self._check_outage()
        user = await self._enabled_user(claims.user_id)
        session = await self._store.sessions.find(claims.session_id)
        if session is None or session.ended_at is not None or session.user_id != user.id:
            raise _wrong("the session was ended; sign in again", "session_ended")
        if user.valid_after is not None and claims.issued_at < user.valid_after:
            raise _wrong("all sessions were ended; sign in again", "session_ended")
        return Identity(
            owner=user.id, user_id=user.id, scopes=scopes_of(user), session_id=session.id, budget=user.budget
        )

    async def _enabled_user(self, user_id: str) -> User:
        try:
            user = await self._store.users.get(user_id)
        except NotFound:
            raise _wrong("its user does not exist any more") from None
        if user.disabled:
            raise _wrong("the account is disabled", "account_disabled")
        return user

    # --- sessions -----------------------------------------------------------------------------------

    async def sign_in(self, user: User, *, for_exchange: bool = False) -> IssuedToken:
        """Begin a session; raises AuthenticationFailed for a disabled account.

        ``for_exchange``: the token has to travel where it may be seen, so it opens nothing. ``refresh`` takes
        it once, for a minute; seen a second time it ends the session.
        """
        if user.disabled:
            raise _wrong("the account is disabled", "account_disabled")
        at, jti = now(), new_jti()
        if user.valid_after is not None and user.valid_after > at:
            # The clock went back since all sessions were ended. They stay ended without it; the new one would
            # not begin with it.
            user = await self._store.users.update(user.id, UserChanges(valid_after=at))
        session = RefreshSession(
            user_id=user.id,
            current_jti=jti,
            created_at=at,
            last_used_at=at,
            expires_at=at + self._session_lifetime,
        )
        await self._store.sessions.start(session)
        return self._issue(user, session.id, jti, at, for_exchange=for_exchange)

    async def refresh(self, token: str) -> IssuedToken:
        """Exchange a token, expired or not, for a new one, once. A token that is presented again ends its
        whole session: one of the two who have it is a thief. Raises AuthenticationFailed."""
        claims = self._tokens.verify(token, grace=self._grace)
        user = await self._enabled_user(claims.user_id)
        if user.valid_after is not None and claims.issued_at < user.valid_after:
            raise _wrong("all sessions were ended; sign in again", "session_ended")
        session = await self._store.sessions.find(claims.session_id)
        if session is None:
            raise _wrong("the session is not known; sign in again", "session_ended")
        at, jti = now(), new_jti()
        rotation = await self._store.sessions.rotate(
            claims.session_id, claims.jti, jti, at=at, expires_at=session.expires_at
        )
        self.forget()
        if rotation.outcome == "reused":
            log.warning("a refresh token was used twice; its session is ended", user_id=user.id)
            raise _wrong("the token was exchanged before; the session is ended, sign in again", "token_reused")
        if rotation.outcome != "rotated":
            raise _wrong("the session is over; sign in again", "session_ended")
        return self._issue(user, claims.session_id, jti, at)

    async def sign_out(self, identity: Identity, *, everywhere: bool = False) -> None:
        """End the session that the caller came with, or all the caller has."""
        if everywhere and identity.user_id is not None:
            await self._store.users.update(identity.user_id, UserChanges(valid_after=now()))
            await self._store.sessions.end_all(identity.user_id, at=now(), reason="signed out everywhere")
        elif identity.session_id is not None:
            await self._store.sessions.end(identity.session_id, at=now(), reason="signed out")
        self.forget()

    def _issue(
        self, user: User, session_id: str, jti: str, at: datetime, *, for_exchange: bool = False
    ) -> IssuedToken:
        token, expires = self._tokens.sign(
            user_id=user.id,
            session_id=session_id,
            jti=jti,
            at=at,
            # ``refresh`` grants the grace to every token, so what is to end with it begins as expired.
            lifetime=_EXCHANGE_WITHIN - self._grace if for_exchange else None,
            for_exchange=for_exchange,
        )
        return IssuedToken(token=token, expires_at=expires, user=user)

    # --- API keys -----------------------------------------------------------------------------------

    async def create_key(
        self,
        user_id: str,
        name: str,
        permissions: tuple[Scope, ...],
        expires_at: datetime | None = None,
        budget: TokenBudget = NO_BUDGET,
        *,
        mint: Mint | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key of a user, and the secret, which is known only now."""
        secret, record = _new_key(user_id, name, permissions, expires_at, budget, mint or Mint())
        try:
            await self._store.keys.create(record)
        except Conflict as error:
            return await self._made_before(record, mint, error), secret
        return record, secret

    async def _made_before(self, record: ApiKey, mint: Mint | None, error: Conflict) -> ApiKey:
        """The same key, made by an earlier attempt at the same request; raises ``error`` if there was none."""
        found = await self._store.keys.find(record.id) if mint is not None and mint.again else None
        if found is None or found.hash != record.hash:
            raise error
        return found

    async def rotate_key(
        self,
        user_id: str,
        key_id: str,
        grace: timedelta,
        *,
        allowed: frozenset[Scope],
        check_budget: Callable[[TokenBudget], None],
        mint: Mint | None = None,
    ) -> tuple[ApiKey, str]:
        """A successor of a key; the old one stays good for the grace. NotFound, Conflict.

        ``allowed``: what the caller may do; ``check_budget`` raises PermissionDenied for more tokens than the
        caller may give. The successor's secret gives all that the key may, so PermissionDenied for a mightier key.
        """
        old = await self._store.keys.find(key_id)
        if old is None or old.user_id != user_id:
            raise NotFound("there is no such API key")
        if mightier := [name for name in old.permissions if name not in allowed]:
            raise PermissionDenied(f"the key has the permission '{mightier[0]}'; these credentials have not")
        check_budget(old.budget)
        secret, record = _new_key(user_id, old.name, old.permissions, old.expires_at, old.budget, mint or Mint())
        try:
            created = await self._store.keys.rotate(user_id, key_id, record, now() + grace)
        except Conflict as error:
            created = await self._made_before(record, mint, error)
        self.forget()
        return created, secret

    async def revoke_key(self, user_id: str, key_id: str) -> ApiKey:
        """End a key at once. NotFound."""
        revoked = await self._store.keys.revoke(user_id, key_id, now())
        self.forget()
        return revoked


def scopes_of(user: User) -> frozenset[Scope]:
    """What a person's role allows."""
    return ADMIN_SCOPES if user.role == "admin" else USER_SCOPES


def parse_scopes(names: Any) -> tuple[Scope, ...]:
    """Names as scopes, in the order in which scopes are declared, each once; ValueError for an unknown one."""
    unknown = [name for name in names if name not in get_args(Scope)]
    if unknown:
        raise ValueError(f"unknown permission '{unknown[0]}'; allowed: {', '.join(get_args(Scope))}")
    return tuple(scope for scope in get_args(Scope) if scope in names)


def _new_key(
    user_id: str,
    name: str,
    permissions: tuple[str, ...],
    expires_at: datetime | None,
    budget: TokenBudget,
    mint: Mint,
) -> tuple[str, ApiKey]:
    secret = api_keys.generate(mint.token_bytes(api_keys.SECRET_BYTES))
    record = ApiKey(
        id=mint.new_id("key"),
        user_id=user_id,
        name=name,
        prefix=api_keys.prefix_of(secret),
        hash=api_keys.hash_of(secret),
        permissions=permissions,
        expires_at=expires_at,
        tokens_per_minute=budget.tokens_per_minute,
        tokens_per_day=budget.tokens_per_day,
    )
    return secret, record


def _wrong(reason: str, code: str = "invalid_api_key") -> AuthenticationFailed:
    return AuthenticationFailed(reason, code=code, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
