"""The life of sessions and API keys: over the store's contract, not a backend."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, get_args

import msgspec
import structlog

from jan.auth import api_keys
from jan.auth.credentials import Credentials, wrong
from jan.auth.tokens import TokenSigner, new_jti
from jan.errors import Conflict, NotFound, PermissionDenied
from jan.idempotency.ids import IdSource
from jan.schema.limits import TokenBudget
from jan.schema.scopes import Identity, Scope
from jan.storage.records import ApiKey, RefreshSession, User, UserChanges, now
from jan.storage.repositories import Store

log = structlog.get_logger(__name__)

# How long a token that is only for exchange can be exchanged.
_EXCHANGE_WITHIN = timedelta(minutes=1)
NO_BUDGET = TokenBudget()


class IssuedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token for its owner; never logged, so it hides itself."""

    token: str
    expires_at: datetime
    user: User

    def __repr__(self) -> str:
        return f"IssuedToken(user={self.user.id!r})"


class Accounts:
    """Gives credentials and takes them back. ``refresh_grace``: how long after its end a token can still be
    exchanged, once; ``session_lifetime``: the longest that a session can be prolonged."""

    def __init__(
        self,
        store: Store,
        tokens: TokenSigner,
        *,
        refresh_grace: timedelta,
        session_lifetime: timedelta,
    ) -> None:
        self._store = store
        self._tokens = tokens
        #: Who may come in; told of what is taken back.
        self.credentials = Credentials(store, tokens)
        self._grace = refresh_grace
        self._session_lifetime = session_lifetime

    # --- sessions -----------------------------------------------------------------------------------

    async def sign_in(self, user: User, *, for_exchange: bool = False) -> IssuedToken:
        """Begin a session; raises AuthenticationFailed for a disabled account.

        ``for_exchange``: the token has to travel where it may be seen, so it opens nothing. ``refresh`` takes
        it once, for a minute; seen a second time it ends the session.
        """
        if user.disabled:
            raise wrong("the account is disabled", "account_disabled")
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
        user = await self.credentials.enabled_user(claims.user_id)
        if user.valid_after is not None and claims.issued_at < user.valid_after:
            raise wrong("all sessions were ended; sign in again", "session_ended")
        session = await self._store.sessions.find(claims.session_id)
        if session is None:
            raise wrong("the session is not known; sign in again", "session_ended")
        at, jti = now(), new_jti()
        rotation = await self._store.sessions.rotate(
            claims.session_id, claims.jti, jti, at=at, expires_at=session.expires_at
        )
        self.credentials.forget()
        if rotation.outcome == "reused":
            log.warning("a refresh token was used twice; its session is ended", user_id=user.id)
            raise wrong("the token was exchanged before; the session is ended, sign in again", "token_reused")
        if rotation.outcome != "rotated":
            raise wrong("the session is over; sign in again", "session_ended")
        return self._issue(user, claims.session_id, jti, at)

    async def sign_out(self, identity: Identity, *, everywhere: bool = False) -> None:
        """End the session that the caller came with, or all the caller has."""
        if everywhere and identity.user_id is not None:
            await self._store.users.update(identity.user_id, UserChanges(valid_after=now()))
            await self._store.sessions.end_all(identity.user_id, at=now(), reason="signed out everywhere")
        elif identity.session_id is not None:
            await self._store.sessions.end(identity.session_id, at=now(), reason="signed out")
        self.credentials.forget()

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
        mint: IdSource | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key of a user, and the secret, which is known only now."""
        secret, record = _new_key(user_id, name, permissions, expires_at, budget, mint or IdSource())
        try:
            await self._store.keys.create(record)
        except Conflict as error:
            return await self._made_before(record, mint, error), secret
        return record, secret

    async def _made_before(self, record: ApiKey, mint: IdSource | None, error: Conflict) -> ApiKey:
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
        mint: IdSource | None = None,
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
        secret, record = _new_key(
            user_id, old.name, old.permissions, old.expires_at, old.budget, mint or IdSource()
        )
        try:
            created = await self._store.keys.rotate(user_id, key_id, record, now() + grace)
        except Conflict as error:
            created = await self._made_before(record, mint, error)
        self.credentials.forget()
        return created, secret

    async def revoke_key(self, user_id: str, key_id: str) -> ApiKey:
        """End a key at once. NotFound."""
        revoked = await self._store.keys.revoke(user_id, key_id, now())
        self.credentials.forget()
        return revoked


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
    mint: IdSource,
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
