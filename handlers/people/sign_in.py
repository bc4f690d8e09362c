"""GET /auth/google, GET /auth/google/callback: sign-in with Google, or the provider that is configured."""

from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from handlers.people.browser_sessions import SigningInHandler
from handlers.people.profile import profile_of
from jan.errors import AuthenticationFailed, InvalidRequest, PermissionDenied, Unavailable
from jan.operation import operation
from jan.schema.auth import CallbackQuery, SignedIn, SignInQuery
from jan.schema.scopes import PUBLIC


class _SignInHandler(SigningInHandler):
    """Both ends of a sign-in, which share the cookie that ties it to one browser."""

    #: The way to the web page, relative in case a proxy serves this under another path.
    page: ClassVar[str]
    #: True if the sign-in ends elsewhere than on the web page.
    returns_elsewhere = False

    def set_default_headers(self) -> None:
        """Keep the URL, which has a secret, out of requests to other sites."""
        super().set_default_headers()
        self.set_header("Referrer-Policy", "no-referrer")

    @property
    def leads_to_page(self) -> bool:
        """True if the sign-in ends on the web page: for a browser, which asks for HTML, and nowhere else."""
        asks = "text/html" in self.request.headers.get("Accept", "")
        return asks and not self.returns_elsewhere and self.services.settings.has_page

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Lead a browser to the page with the error's code in the fragment; show others the error."""
        raised = kwargs.get("exc_info", (None, None))[1]
        if not (self.dispatched and self.leads_to_page):
            super().write_error(status_code, **kwargs)
            return
        error = self.explain(raised)
        self.log_fields["error"] = error.code
        self.note_refusal(status_code)
        self.set_status(302)
        self.set_header("Location", f"{self.page}#sign_in_error={error.code}")
        self.finish()

    @property
    def flow_cookie(self) -> str:
        """The cookie's name. Browsers let no other host of the same domain set a cookie with the prefix `__Host-`;
        such a host could otherwise sign somebody in as itself (RFC 6265bis, 4.1.3.2)."""
        return "__Host-jan_sign_in" if self.services.sign_in.secure else "jan_sign_in"

    def keep_flow(self, sealed: str, seconds: int) -> None:
        """Set the cookie. `Lax` sends it when the provider sends the browser back, and not with requests of other
        sites' pages."""
        self.set_cookie(
            self.flow_cookie,
            sealed,
            max_age=seconds,
            path="/",
            secure=self.services.sign_in.secure,
            httponly=True,
            samesite="Lax",
        )


class GoogleSignIn(_SignInHandler):
    """The way to the sign-in provider."""

    page = "../"

    @operation(
        summary="Sign in with Google",
        access=PUBLIC,
        tag="auth",
        query=SignInQuery,
        redirect="To the provider",
        errors=(InvalidRequest, Unavailable),
    )
    async def get(self, query: SignInQuery) -> None:
        """Redirect the browser to the provider. With `return_to` the sign-in ends on that page instead of in a
        JSON answer, or on the web page for a browser, which asks for HTML."""
        self.returns_elsewhere = query.return_to is not None
        departure = await self.services.sign_in.begin(
            origin=f"{self.request.protocol}://{self.request.host}",
            path=f"{self.request.path}/callback",
            return_to=query.return_to,
        )
        self.keep_flow(departure.sealed, self.services.sign_in.seconds)
        self.redirect(departure.url)


class GoogleCallback(_SignInHandler):
    """The way back from the sign-in provider."""

    page = "../../"

    refused_statuses = frozenset({400, 401, 403})
    refused_act = "sign_in.refused"

    @operation(
        summary="Finish signing in with Google",
        access=PUBLIC,
        tag="auth",
        query=CallbackQuery,
        response=SignedIn,
        redirect="To the page that the sign-in was begun with, with an `exchange_token`; else to the web page",
        errors=(InvalidRequest, AuthenticationFailed, PermissionDenied, Unavailable),
    )
    async def get(self, query: CallbackQuery) -> SignedIn | None:
        """Answer with a token, or lead a browser, which asks for HTML, to the web page with a cookie (302). If the
        sign-in was begun with `return_to`, redirect to that page with `#exchange_token=` instead; the page sends
        it at once to POST /auth/refresh as its Bearer token."""
        flow = self.services.sign_in.resume(query.state, self.get_cookie(self.flow_cookie))
        self.returns_elsewhere = flow.return_to is not None
        self.clear_cookie(self.flow_cookie, path="/", secure=self.services.sign_in.secure, httponly=True)
        use: Literal["cookie", "bearer"] = "cookie" if self.leads_to_page else "bearer"
        arrival = await self.services.sign_in.finish(self.request.query, flow, use=use, program=self.program)
        issued = arrival.issued
        self.log_fields["user"] = issued.user.id
        if arrival.return_to is not None:
            # The fragment goes to no server and into no Referer, but stays in the browser's history. So it holds
            # no credential, only a token to exchange, once, within a minute.
            self.redirect(f"{arrival.return_to}#exchange_token={issued.token}")
            return None
        if self.leads_to_page:
            await self.keep_session(issued.session_id, issued.token, issued.expires_at)
            self.redirect(self.page)
            return None
        seconds = (issued.expires_at - datetime.now(UTC)).total_seconds()
        return SignedIn(
            access_token=issued.token,
            expires_in=max(0, round(seconds)),
            expires_at=issued.expires_at,
            user=profile_of(issued.user),
        )
