"""/auth/session, the session of a browser, and /user/sessions, all sessions of the caller."""

from datetime import datetime

from handlers.people.profile import profile_of
from jan.errors import AuthenticationFailed, NotFound, PermissionDenied
from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.auth import BrowserSession, BrowserSignIn, BrowserState, SessionInfo, SessionList, SignedOut
from jan.schema.paging import PageQuery
from jan.schema.scopes import KEYS, PUBLIC, READ
from jan.schema.shares import SharingOffer
from jan.storage.session_records import RefreshSession


class SigningInHandler(Handler):
    """An endpoint that may begin a session in a browser."""

    @property
    def program(self) -> str:
        """The User-Agent of the caller's program."""
        return self.request.headers.get("User-Agent", "")

    async def keep_session(self, session_id: str, token: str, expires_at: datetime) -> None:
        """Give the browser the cookie of a new session. It ends the session of the cookie that it replaces."""
        cookies = self.services.cookies
        if (former := cookies.read(self.request)) is not None:
            await self.services.browsers.leave(former, unless=session_id)
        cookies.keep(self, token, expires_at)

    def check_own_page(self) -> None:
        """Raise PermissionDenied for a request of another site's page."""
        self.services.origins.check_own_page(self.request, secure=self.services.cookies.is_secure(self.request))


class OwnSession(SigningInHandler):
    """The session of the browser that calls."""

    refused_statuses = frozenset({400, 401, 403})
    refused_act = "sign_in.refused"

    @operation(
        summary="Who is signed in in this browser",
        access=PUBLIC,
        tag="auth",
        limit="none",
        response=BrowserState,
        errors=(AuthenticationFailed, PermissionDenied),
        examples=(Example(summary="Is anybody?"),),
    )
    async def get(self) -> BrowserState:
        """Return the session of the browser's cookie and its user, or null where there is none or it has ended.
        `provider` says if people can sign in at /auth/google, `sharing` for how long at most conversations can be
        shared by links, null for not at all."""
        session, token = None, self.services.cookies.read(self.request)
        if token is not None:
            self.check_own_page()
            if (found := await self.services.browsers.find(token)) is not None:
                user, record = found
                session = BrowserSession(id=record.id, expires_at=record.expires_at, user=profile_of(user))
        settings = self.services.settings
        longest = int(settings.shares.longest.total_seconds())
        sharing = SharingOffer(max_seconds=longest) if settings.shares.enabled else None
        return BrowserState(session=session, provider=settings.sign_in.configured, sharing=sharing)

    @operation(
        summary="Sign this browser in",
        access=PUBLIC,
        tag="auth",
        request=BrowserSignIn,
        response=BrowserSession,
        errors=(AuthenticationFailed, PermissionDenied),
        examples=(Example(summary="With an API key", body={"credential": "jan_..."}),),
    )
    async def post(self, body: BrowserSignIn) -> BrowserSession:
        """Begin a session with an API key, a token or the code of a link, and set its cookie. Only pages of this
        server may do it. A session of a key may do what the key may, and ends with it."""
        self.check_own_page()
        if isinstance(body.code, str):
            issued = await self.services.browsers.redeem(body.code, self.program)
        else:
            issued = await self.services.browsers.exchange(str(body.credential), self.program)
        self.log_fields["user"] = issued.user.id
        await self.keep_session(issued.session_id, issued.token, issued.expires_at)
        return BrowserSession(id=issued.session_id, expires_at=issued.expires_at, user=profile_of(issued.user))

    @operation(
        summary="Sign this browser out",
        access=PUBLIC,
        tag="auth",
        ends_credentials=True,
        response=SignedOut,
        errors=(AuthenticationFailed, PermissionDenied),
    )
    async def delete(self) -> SignedOut:
        """End the session of the browser's cookie, if it has not ended, and remove the cookie."""
        self.check_own_page()
        if (token := self.services.cookies.read(self.request)) is not None:
            await self.services.browsers.leave(token)
        self.services.cookies.remove(self)
        return SignedOut()


class UserSessions(Handler):
    """The sessions of the caller."""

    @operation(
        summary="My sessions",
        access=READ,
        tag="user",
        query=PageQuery,
        response=SessionList,
        examples=(Example(summary="Where am I signed in?"),),
    )
    async def get(self, query: PageQuery) -> SessionList:
        """List the sessions that have not ended, in order of creation, a page at a time: `next_cursor` of one page
        is the `cursor` of the next. Those that expired are left out, so a page may have fewer than `limit`."""
        page = await self.services.browsers.page(self.user_id, limit=query.limit, cursor=query.cursor)
        return SessionList(
            data=[self._shown(session) for session in page.items],
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
        )

    def _shown(self, session: RefreshSession) -> SessionInfo:
        return SessionInfo(
            id=session.id,
            kind="cookie" if session.kind == "cookie" else "token",
            device=session.device,
            created_at=session.created_at,
            last_used_at=session.last_used_at,
            expires_at=session.expires_at,
            key_id=session.key_id,
            current=session.id == self.identity.session_id,
        )


class OneUserSession(Handler):
    """One session of the caller."""

    @operation(
        summary="End one of my sessions",
        access=KEYS,
        tag="user",
        ends_credentials=True,
        response=SignedOut,
        errors=(NotFound,),
    )
    async def delete(self, session_id: str) -> SignedOut:
        """End a session at once, with what runs for it. A key may do it if it can do all that the sessions can."""
        user = await self.services.users.get(self.user_id)
        await self.services.key_grants.check_sessions(user, self.identity)
        await self.services.browsers.end(self.user_id, session_id)
        return SignedOut()
