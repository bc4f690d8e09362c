"""The life of sessions: begun by a sign-in, prolonged by exchanging tokens, ended by a sign-out."""

from datetime import datetime, timedelta

import msgspec
import structlog
from msgspec.structs import replace

from jan.audit.acts import Actor, Auditor, acting
from jan.auth.credentials import Credentials, wrong
from jan.auth.tokens import TokenSigner, TokenUse, new_jti
from jan.schema.scopes import Identity
from jan.storage.records import User, UserChanges, now
from jan.storage.repositories import Store
from jan.storage.session_records import RefreshSession

log = structlog.get_logger(__name__)

# How long a token that is only for exchange can be exchanged.
_EXCHANGE_WITHIN = timedelta(minutes=1)


class IssuedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token for its owner. Its ``repr`` hides it, so that no log shows it."""

    token: str
    expires_at: datetime
    user: User
    session_id: str

    def __repr__(self) -> str:
        return f"IssuedToken(user={self.user.id!r})"


class Sessions:
    """Begins, prolongs and ends sessions, over any store.

    ``refresh_grace`` is how long after its end a token can still be exchanged, once. ``session_lifetime`` is the
    longest that a session lasts without a new sign-in.
    """

    def __init__(
        self,
        store: Store,
        tokens: TokenSigner,
        credentials: Credentials,
        audit: Auditor,
        *,
        refresh_grace: timedelta,
        session_lifetime: timedelta,
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._credentials = credentials
        self._audit = audit
        self._grace = refresh_grace
        self._session_lifetime = session_lifetime

    async def sign_in(
        self, user: User, *, use: TokenUse = "bearer", device: str = "", key: Identity | None = None
    ) -> IssuedToken:
        """Begin a session and return its first token; raises AuthenticationFailed for a disabled account.

        A token for ``exchange`` opens nothing, because it travels where others may see it. ``refresh`` takes it
        once, within a minute. Shown a second time, it ends the session. A token for a ``cookie`` is valid as long
        as its session, which may do what ``key`` may if it was begun with an API key.
        """
        if user.disabled:
            raise wrong("The account is disabled.", "account_disabled")
        at, jti = now(), new_jti()
        if user.valid_after is not None and user.valid_after > at:
            # The clock was set back after all sessions were ended. Those stay ended without ``valid_after``,
            # and with it the new session would be refused.
            user = await self._store.users.update(user.id, UserChanges(valid_after=at))
        session = RefreshSession(
            user_id=user.id,
            current_jti=jti,
            created_at=at,
            last_used_at=at,
            expires_at=at + self._session_lifetime,
            kind="cookie" if use == "cookie" else "token",
            device=device,
            key_id=None if key is None else key.key_id,
        )
        if key is not None and key.expires_at is not None:
            session = replace(session, expires_at=min(session.expires_at, key.expires_at))
        await self._store.sessions.start(session)
        if (actor := acting.get()).id is None:
            acting.set(Actor(user.id, session.id, actor.address))
        details = {} if session.key_id is None else {"key": session.key_id}
        await self._audit.record("user.signed_in", user_id=user.id, target=session.id, **details)
        return self.issue(user, session, use=use)

    async def refresh(self, token: str) -> IssuedToken:
        """Exchange a token, expired or not, for a new one, once.

        A token that is shown again ends its whole session, since one of the two who have it is a thief
        (RFC 9700, 4.14.2: refresh token rotation). Raises AuthenticationFailed.
        """
        claims = self._tokens.verify(token, grace=self._grace)
        if claims.in_cookie:
            raise wrong("The token of a cookie is not exchanged.", "invalid_token")
        user = await self._credentials.enabled_user(claims.user_id)
        if user.valid_after is not None and claims.issued_at < user.valid_after:
            raise wrong("All sessions were ended; sign in again.", "session_ended")
        session = await self._store.sessions.find(claims.session_id)
        if session is None:
            raise wrong("The session is not known; sign in again.", "session_ended")
        at, jti = now(), new_jti()
        rotation = await self._store.sessions.rotate(
            claims.session_id, claims.jti, jti, at=at, expires_at=session.expires_at
        )
        if rotation.outcome == "reused":
            self._credentials.forget()
            log.warning("refresh token used twice; its session was ended", user_id=user.id)
            self._audit.note("session.token_reused", user_id=user.id, target=session.id)
            raise wrong("The token was exchanged before, so its session was ended; sign in again.", "token_reused")
        if rotation.outcome != "rotated" or rotation.session is None:
            raise wrong("The session is over; sign in again.", "session_ended")
        return self.issue(user, rotation.session)

    async def sign_out(self, identity: Identity, *, everywhere: bool = False) -> None:
        """End the session that the caller came with, or all sessions of the caller."""
        if everywhere and identity.user_id is not None:
            await self._store.users.update(identity.user_id, UserChanges(valid_after=now()))
            ended = await self._store.sessions.end_all(identity.user_id, at=now(), reason="signed out everywhere")
            self._credentials.forget()
            await self._audit.record("sessions.all_ended", user_id=identity.user_id, sessions=str(ended))
        elif identity.session_id is not None:
            await self._store.sessions.end(identity.session_id, at=now(), reason="signed out")
            self._credentials.forget()
            await self._audit.record("session.ended", user_id=identity.user_id, target=identity.session_id)

    def issue(self, user: User, session: RefreshSession, *, use: TokenUse = "bearer") -> IssuedToken:
        """Return a token of a session, made when it was last used. One for a cookie is valid until its end."""
        lifetime = None
        if use == "exchange":
            # ``refresh`` grants the grace to every token, so a token that must end with it begins expired.
            lifetime = _EXCHANGE_WITHIN - self._grace
        elif use == "cookie":
            lifetime = session.expires_at - session.last_used_at
        token, expires = self._tokens.sign(
            user_id=user.id,
            session_id=session.id,
            jti=session.current_jti,
            at=session.last_used_at,
            lifetime=lifetime,
            use=use,
        )
        return IssuedToken(token=token, expires_at=expires, user=user, session_id=session.id)
