"""The cookie in which a browser keeps the token of its session."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property

from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from jan.errors import AuthenticationFailed
from jan.settings import ServerSettings
from jan.settings.addresses import TrustedProxies

# Browsers accept this prefix only over TLS, for the whole host and no other (RFC 6265bis 4.1.3.2).
_HOST = "__Host-"


class SessionCookies:
    """Reads, sets and removes the cookie of one server.

    Browsers send the cookies of a host to all its ports, so the name ends with an id of the server: two servers of
    one machine do not overwrite each other's. Over TLS only the name with the prefix ``__Host-`` counts, which no
    other host of the domain can set.
    """

    def __init__(
        self,
        settings: ServerSettings,
        public_url: str | None,
        proxies: TrustedProxies,
        server_id: Callable[[], str],
    ) -> None:
        self._tls = settings.tls is not None or (public_url or "").startswith("https:")
        self._proxies = proxies
        self._server_id = server_id

    @cached_property
    def name(self) -> str:
        """The cookie's name without TLS. It is known once the signing keys are read."""
        return f"jan_session_{self._server_id()}"

    def is_secure(self, request: HTTPServerRequest) -> bool:
        """Return True if browsers reach this server over TLS: its own, or by a proxy that says so."""
        if self._tls:
            return True
        scheme = request.headers.get("X-Forwarded-Proto", "").partition(",")[0].strip().lower()
        return scheme == "https" and self._proxies.includes(request.remote_ip or "")

    def read(self, request: HTTPServerRequest) -> str | None:
        """Return the token of a request's cookie, None if it has none. Raises AuthenticationFailed for several
        different ones, because a guess could act for the wrong user."""
        lines = request.headers.get_list("Cookie")
        if not lines:
            return None
        pairs = [part.strip().partition("=") for line in lines for part in line.split(";")]
        found = {value for name, _, value in pairs if name == _HOST + self.name}
        if not found and not self.is_secure(request):
            found = {value for name, _, value in pairs if name == self.name}
        if len(found) > 1:
            raise AuthenticationFailed(
                "The request has several cookies of this server with different tokens. Remove them, and sign in.",
                code="conflicting_credentials",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return found.pop() or None if found else None

    def keep(self, response: RequestHandler, token: str, expires_at: datetime) -> None:
        """Set the cookie. `Strict` keeps it out of requests that other sites begin, links among them."""
        request = response.request
        # A page's own origin says that it came over TLS, also where no setting does.
        secure = self.is_secure(request) or request.headers.get("Origin", "").startswith("https:")
        response.set_cookie(
            _HOST + self.name if secure else self.name,
            token,
            max_age=max(0, int((expires_at - datetime.now(UTC)).total_seconds())),
            path="/",
            secure=secure,
            httponly=True,
            samesite="Strict",
        )

    def remove(self, response: RequestHandler) -> None:
        """Remove the cookie, by the names that it may have."""
        response.clear_cookie(_HOST + self.name, path="/", secure=True, httponly=True, samesite="Strict")
        if not self.is_secure(response.request):
            response.clear_cookie(self.name, path="/", httponly=True, samesite="Strict")
