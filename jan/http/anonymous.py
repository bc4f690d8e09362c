"""Decides who is served without credentials: by the setting, and by where a request comes from."""

import re
from functools import lru_cache
from typing import cast
from weakref import WeakKeyDictionary

import structlog
from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPServerRequest
from tornado.iostream import IOStream

from jan.http.peer_account import PeerAccounts
from jan.schema.scopes import Access
from jan.settings import ANYONE, Settings
from jan.settings.addresses import host_of, is_loopback, port_of
from jan.settings.exposure import admitted_without_credentials, signs_of_exposure

log = structlog.get_logger(__name__)

# Words in the names of headers that proxies, load balancers, tunnels and CDNs add, and that programs do not send.
# X-Real-IP, True-Client-IP, CF-Connecting-IP and Fly-Client-IP need one entry together.
_WORDS = """
    via forward forwarded forwards ip clientip socketip addr realip real remote original originating rewrite
    proxy proxied proxyuser cdn edge surrogate gateway ingress upstream loadbalancer lb ssl tls scheme cf
    cloudfront fly fastly akamai azure arr appengine amzn vercel nf railway sucuri incap varnish haproxy nginx
    traefik caddy envoy istio l5d kong ngrok tailscale bluecoat wap authenticated webauth waf hop hops backend
"""
_PROXY_WORDS = frozenset(_WORDS.split())
# Names without such a word.
_PROXY_NAMES = re.compile(
    r"x-host|x-server|x-port|x-proto(col)?|x-client-(dn|verify|port|proto)|front-end-https|(x-)?client-cert(-chain)?|"
    r"early-data|x-request-start|x-cloud-trace-context"
)
# Programs send no longer names.
_LONGEST_NAME = 64
# Names of headers that were seen lately.
_NAMES = 512


class AnonymousPolicy:
    """The rule of one server for requests without credentials."""

    def __init__(self, settings: Settings) -> None:
        self._admitted = admitted_without_credentials(settings)
        self._signs = signs_of_exposure(settings) if settings.access.anonymous == "auto" else []
        #: Connections of programs on this machine: True for those that are no services.
        self._local: WeakKeyDictionary[IOStream, bool] = WeakKeyDictionary()
        self._accounts = PeerAccounts()

    def announce(self) -> None:
        """Log that nobody is served without credentials, if that follows from other settings."""
        if self._signs:
            log.info(
                "requests without credentials are refused", because_of=self._signs, setting="access.anonymous"
            )

    def close(self) -> None:
        """Free what decisions needed."""
        self._accounts.close()

    def admits(self, request: HTTPServerRequest, access: Access) -> bool:
        """Return True if an operation serves this request without credentials."""
        if not access.anonymous or self._admitted == "refuse":
            return False
        if self._admitted == ANYONE:
            return not access.loopback
        return self._is_from_here(request)

    def hint(self, access: Access) -> str:
        """Return what an error adds for a caller who is refused only because of where the request comes from."""
        if not access.anonymous or self._admitted != "on-loopback":
            return ""
        return " Without them only programs on this machine are served, and not through a proxy."

    def _is_from_here(self, request: HTTPServerRequest) -> bool:
        """Return True if a program on this machine sent the request, and no proxy passed it on.

        A proxy on this machine connects from loopback too, for people elsewhere. So a request is one of a proxy
        where anything is as proxies leave it. Programs on this machine speak HTTP/1.1 and name the address that
        they connect to; nginx speaks HTTP/1.0 by default, and HAProxy passes on the Host of its clients.
        """
        stream = _stream_of(request)
        return (
            request.version == "HTTP/1.1"
            and not stream.closed()
            and is_loopback(request.remote_ip or "")
            and _names_this_server(request, stream)
            and not any(len(name) > _LONGEST_NAME or _is_of_proxy(name) for name in request.headers)
            and self._is_of_person(stream)
        )

    def _is_of_person(self, stream: IOStream) -> bool:
        """Return True unless a service's account opened the connection."""
        known = self._local.get(stream)
        if known is None:
            self._local[stream] = known = not self._accounts.is_service(stream.socket)
        return known


def _stream_of(request: HTTPServerRequest) -> IOStream:
    return cast(HTTP1Connection, request.connection).stream  # this server's connections are all of that kind


def _names_this_server(request: HTTPServerRequest, stream: IOStream) -> bool:
    """Return True if the Host header names this machine and, if it names a port, the one that was connected to.

    So must the host in a target that has one (RFC 9112 3.2.2), which counts for everything else.
    """
    host = f"//{request.headers.get('Host', '')}"
    own_port = stream.socket.getsockname()[1]
    return _is_here(host) and _is_here(f"//{request.host}") and port_of(host) in (None, own_port)


def _is_here(url: str) -> bool:
    return is_loopback(host_of(url).removesuffix("."))


@lru_cache(_NAMES)
def _is_of_proxy(name: str) -> bool:
    plain = name.lower().replace("_", "-")
    return not _PROXY_WORDS.isdisjoint(plain.split("-")) or _PROXY_NAMES.fullmatch(plain) is not None
