"""Sessions of browsers: begun with an API key, a token or a link that works once; listed, and ended one by one."""

import secrets
from datetime import timedelta

import msgspec

from jan.audit.acts import Auditor
from jan.auth.api_keys import hash_of
from jan.auth.credentials import Credentials, accepted_user, check_scopes, wrong
from jan.auth.devices import device_of
from jan.auth.sessions import IssuedToken, Sessions
from jan.errors import AuthenticationFailed, NotFound
from jan.schema.scopes import Identity
from jan.storage.records import Page, User, now
from jan.storage.repositories import Store
from jan.storage.session_records import RefreshSession

# How long a link to sign in works.
_LINK_WORKS = timedelta(minutes=10)
# Random bytes in the code of a link.
_CODE_BYTES = 32


class BrowserSessions:
    """Begins sessions whose token a browser keeps in a cookie, and manages the sessions of a user.

    ``idle`` is how long a session lasts without being used.
    """

    def __init__(
        self, store: Store, credentials: Credentials, sessions: Sessions, audit: Auditor, idle: timedelta
    ) -> None:
        self._store = store
        self._credentials = credentials
        self._sessions = sessions
        self._audit = audit
        self._idle = idle

    async def exchange(self, credential: str, program: str) -> IssuedToken:
        """Begin a session with an API key, whose rights it has and with which it ends; or return another token of
        the session that a token belongs to.

        ``program`` is the User-Agent. Raises AuthenticationFailed, and PermissionDenied for a key that may not
        read.
        """
        identity = await self._credentials.identify(credential)
        check_scopes(identity, "read")
        user = await self._credentials.enabled_user(identity.user_id or "")
        if identity.key_id is not None:
            return await self._sessions.sign_in(user, use="cookie", device=device_of(program), key=identity)
        session = await self._store.sessions.find(identity.session_id or "")
        if session is None:
            raise wrong("The session has ended. Sign in again.", "session_ended")
        at = now()
        await self._store.sessions.touch(session.id, at)
        await self._audit.record("user.signed_in", user_id=user.id, target=session.id)
        return self._sessions.issue(user, msgspec.structs.replace(session, last_used_at=at), use="cookie")

    async def find(self, token: str) -> tuple[User, RefreshSession] | None:
        """Return the user and the session of a cookie; None if the session has ended, or is another server's."""
        try:
            identity = await self._credentials.identify(token, in_cookie=True)
            user = await self._credentials.enabled_user(identity.user_id or "")
        except AuthenticationFailed:
            return None
        session = await self._store.sessions.find(identity.session_id or "")
        return None if session is None else (user, session)

    async def leave(self, token: str, *, unless: str = "") -> None:
        """End the session of a cookie, ``unless`` it has this id: then it goes on with another token. Raises
        Unavailable."""
        try:
            former = await self._credentials.identify(token, in_cookie=True)
        except AuthenticationFailed:
            return  # it has ended, or was another server's
        if former.session_id != unless:
            await self._sessions.sign_out(former)

    # --- links --------------------------------------------------------------------------------------

    async def make_link(self, user: User) -> str:
        """Make the code of a link that signs a user in, once, within ten minutes. Only its hash is stored.

        Raises AuthenticationFailed for a disabled account.
        """
        accepted_user(user)
        code, at = secrets.token_urlsafe(_CODE_BYTES), now()
        link = RefreshSession(
            id=_link_id(code),
            user_id=user.id,
            current_jti=hash_of(code),
            created_at=at,
            last_used_at=at,
            expires_at=at + _LINK_WORKS,
            kind="link",
        )
        await self._store.sessions.start(link)
        await self._audit.record("sign_in.link_made", user_id=user.id, target=link.id)
        return code

    async def redeem(self, code: str, program: str) -> IssuedToken:
        """Begin a session with the code of a link. Raises AuthenticationFailed for one that was used before, is
        too old or is not known."""
        link = await self._store.sessions.find(_link_id(code))
        if link is None or not secrets.compare_digest(link.current_jti, hash_of(code)):
            raise _spent()
        user, at = await self._credentials.enabled_user(link.user_id), now()
        # Of two who send the code at once, one replaces it.
        rotation = await self._store.sessions.rotate(
            link.id, link.current_jti, "used", at=at, expires_at=link.expires_at
        )
        if rotation.outcome != "rotated":
            raise _spent()
        await self._store.sessions.end(link.id, at=at, reason="used")
        return await self._sessions.sign_in(user, use="cookie", device=device_of(program))

    async def drop_link(self, code: str) -> None:
        """End a link that was not used."""
        await self._store.sessions.end(_link_id(code), at=now(), reason="dropped")

    # --- the sessions of a user ---------------------------------------------------------------------

    async def page(self, user_id: str, *, limit: int, cursor: str | None = None) -> Page[RefreshSession]:
        """Return the live ones of a page of a user's sessions, in order of creation. Raises InvalidRequest for a
        malformed cursor."""
        page, at = await self._store.sessions.page(user_id, limit=limit, cursor=cursor), now()
        live = [
            session
            for session in page.items
            if session.kind != "link" and session.expires_at > at and at - session.last_used_at <= self._idle
        ]
        return msgspec.structs.replace(page, items=live)

    async def end(self, user_id: str, session_id: str) -> None:
        """End one session of a user. Raises NotFound if there is no such session, or it has ended."""
        session = await self._store.sessions.find(session_id)
        if session is None or session.user_id != user_id or session.ended_at is not None or session.kind == "link":
            raise NotFound("No session with this id.", param="session_id")
        await self._sessions.sign_out(Identity(owner=user_id, user_id=user_id, session_id=session_id))


def _link_id(code: str) -> str:
    return f"link_{hash_of(code)[:32]}"


def _spent() -> AuthenticationFailed:
    return wrong(
        "The link was used before, is older than ten minutes, or is not known. `jan user link` makes another one.",
        "link_not_valid",
    )
