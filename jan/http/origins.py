"""Rules for browsers: the host names of this server, and the sites whose pages may call it."""

from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest

from jan.errors import InvalidRequest, PermissionDenied
from jan.settings import ServerSettings
from jan.settings.addresses import host_of, is_address, is_loopback
from jan.settings.server import ANY_HOST

_REQUEST_HEADERS = (
    "Authorization, x-api-key, api-key, anthropic-version, anthropic-beta, "
    "anthropic-dangerous-direct-browser-access, Content-Type, Idempotency-Key, Last-Event-ID, X-Request-Id, "
    "OpenAI-Organization, "
    "OpenAI-Project, OpenAI-Beta, X-Stainless-Arch, X-Stainless-Lang, X-Stainless-OS, "
    "X-Stainless-Package-Version, X-Stainless-Retry-Count, X-Stainless-Runtime, X-Stainless-Runtime-Version, "
    "X-Stainless-Timeout, X-Stainless-Helper-Method, X-Stainless-Poll-Helper, traceparent, tracestate"
)
_SHOWN_HEADERS = (
    "X-Request-Id, request-id, Retry-After, Retry-After-Ms, X-Should-Retry, "
    "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, "
    "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, openai-processing-ms, "
    "Idempotent-Replayed, X-Jan-Message-Id, X-Jan-Parent-Message-Id, X-Jan-Left-Out, X-Jan-Ignored, X-Jan-Relaxed"
)
_PREFLIGHT_SECONDS = 600
_DEFAULT_PORTS = (("http:", ":80"), ("https:", ":443"))


class OriginPolicy:
    """The rules of one server. No response ever lets browsers send cookies across sites, and a cookie that comes
    along counts for the server's own pages only."""

    def __init__(self, settings: ServerSettings, public_url: str | None) -> None:
        self._cors = frozenset(settings.cors_origins)
        self._public = _origin_of(public_url) if public_url else None
        open_to_any = not settings.trusted_hosts and not is_loopback(settings.host)
        self._any_host = open_to_any or ANY_HOST in settings.trusted_hosts
        named = {host.strip("[]") for host in settings.trusted_hosts}
        self._hosts = frozenset({*named, settings.host.lower(), host_of(public_url or "")} - {"", ANY_HOST})

    def check_host(self, request: HTTPServerRequest) -> None:
        """Raise InvalidRequest for a host name that is not this server's.

        Another site could point its name to this address (DNS rebinding), and its pages would count as ours.
        """
        if self._any_host:
            return
        name = _name_of(request)
        if name not in self._hosts and not is_loopback(name):
            given = (
                f"The host '{request.host[:100]}' is not this server's"
                if request.host
                else "The Host header is empty"
            )
            raise self._not_ours(given)

    def _not_ours(self, given: str) -> InvalidRequest:
        allowed = ", ".join(sorted({*self._hosts, "localhost", "127.0.0.1", "[::1]"}))
        return InvalidRequest(
            f"{given}; allowed: {allowed}, and the names in server.trusted_hosts.", code="host_not_allowed"
        )

    def check_anonymous(self, request: HTTPServerRequest) -> None:
        """Raise PermissionDenied for a request without credentials from another site's page, and InvalidRequest
        for one from a page of a name that is not known to be this server's.

        Otherwise any page could use the models of whoever looks at it. A site can point its own name to this
        server's address (DNS rebinding). Then browsers take the server for the site, but not under an address.
        """
        origin = request.headers.get("Origin")
        if self._any_host and _is_browser(request) and origin not in self._cors:
            name = _name_of(request)
            if name not in self._hosts and not is_address(name) and not is_loopback(name):
                raise self._not_ours(f"Pages of '{name[:100]}' may not call this server without credentials")
        if origin is not None:
            foreign = not self._is_own(origin, request.host) and origin not in self._cors
        else:
            looks_on = request.method in ("GET", "HEAD") and request.headers.get("Sec-Fetch-Mode") == "navigate"
            foreign = request.headers.get("Sec-Fetch-Site") == "cross-site" and not looks_on
        if foreign:
            who = f"'{origin[:100]}'" if origin is not None else "another site"
            raise PermissionDenied(
                f"Pages of {who} may not call this server without credentials; allowed: its own pages, those "
                "of server.cors_origins, and programs other than browsers.",
                code="cross_site_request",
            )

    def check_own_page(self, request: HTTPServerRequest, *, secure: bool) -> None:
        """Raise PermissionDenied unless a page of this server sent a request, or a person by typing its URL.

        Guards all that a cookie lets a browser do: browsers send cookies whoever begins a request. Pages of other
        ports and of hosts of the same domain are other pages, which SameSite does not know. Where no header tells,
        only requests that change nothing pass. ``secure``: browsers reach this server over TLS.
        """
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
        safe = request.method in ("GET", "HEAD")
        if origin is not None:
            own = self._is_own_page(origin, request.host, secure)
        else:
            own = safe or site == "same-origin"
        if site is not None and site != "same-origin":
            own = own and safe and site == "none"
        if not own:
            given = f"'{origin[:100]}'" if origin is not None else "another origin, or of a program,"
            raise PermissionDenied(
                f"A request of {given} can't use the cookie of a session; allowed: pages of this server, under "
                "the name and port in the Host header or under sign_in.public_url. Others send Authorization.",
                code="cross_site_request",
            )

    def _is_own_page(self, origin: str, host: str, secure: bool) -> bool:
        if origin == self._public:
            return True
        authority = _authority(f"{'https' if secure else origin.partition(':')[0]}://{host}")
        return authority != "" and _authority(origin) == authority and (not secure or origin.startswith("https:"))

    def _is_own(self, origin: str, host: str) -> bool:
        # The scheme is ignored: behind a proxy that ends TLS it differs from the browser's.
        return origin == self._public or _authority(origin) == _authority(f"{origin.partition(':')[0]}://{host}")

    def headers(self, request: HTTPServerRequest) -> tuple[tuple[str, str], ...]:
        """Make the headers that browsers require on a response before they show it to another site's page."""
        if not self._cors:
            return ()
        vary = ("Vary", "Origin")
        origin = request.headers.get("Origin")
        if origin not in self._cors:
            return (vary,)
        return (
            vary,
            ("Access-Control-Allow-Origin", origin or ""),
            ("Access-Control-Expose-Headers", _SHOWN_HEADERS),
        )

    def preflight_headers(self, request: HTTPServerRequest, methods: str) -> tuple[tuple[str, str], ...]:
        """Make the headers that browsers require on OPTIONS before they send another site's request."""
        if request.headers.get("Origin") not in self._cors:
            return ()
        return (
            ("Access-Control-Allow-Methods", methods),
            ("Access-Control-Allow-Headers", _REQUEST_HEADERS),
            ("Access-Control-Max-Age", str(_PREFLIGHT_SECONDS)),
        )


def _name_of(request: HTTPServerRequest) -> str:
    return host_of(f"//{request.host}").removesuffix(".")


def _is_browser(request: HTTPServerRequest) -> bool:
    """Return True if a browser may have sent a request. Over plain HTTP a browser may send neither Origin nor
    Sec-Fetch-Site."""
    headers = request.headers
    signs = "Origin" in headers or "Referer" in headers or headers.get("User-Agent", "").startswith("Mozilla/")
    return signs or any(name.startswith("Sec-") for name in headers)


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{_authority(url)}"


def _authority(url: str) -> str:
    """Return host and port without the scheme's default port; '' for anything but a URL, such as the origin
    null."""
    scheme, found, rest = url.lower().partition("//")
    authority = rest.partition("/")[0]
    for own, port in _DEFAULT_PORTS:
        if scheme == own:
            authority = authority.removesuffix(port)
    return authority if found else ""
