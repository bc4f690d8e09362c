"""Settings of the server: where and how it listens, and who may use it."""

import os
import re
from typing import Annotated, Literal

import msgspec

from jan.settings.addresses import network_of

Seconds = Annotated[float, msgspec.Meta(ge=0)]
Patience = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
ANYONE = "anyone-who-can-reach-this-server"
ANY_HOST = "*"

# An origin as browsers write it: without path, final slash or wildcard.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.\-]*://[a-z0-9.\-_\[\]:]+")
_HOST = re.compile(r"[a-z0-9.\-_]+|\[[0-9a-f:.]+\]")


class TlsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files in PEM. With ``client_ca``, clients must show a certificate that it signed."""

    certificate: str
    key: str
    client_ca: str | None = None


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the server listens, and what it accepts.

    - ``port``: 0 takes a free one.
    - ``workers``: how many web loops serve, each a process; auto is a quarter of the cores, at least 1. Each has
      the limits of connections.
    - ``grace_seconds``: how long running answers may take at shutdown.
    - ``keepalive_seconds``: a stream that is silent for this long gets a comment.
    - ``first_request_timeout_seconds``: from the start of a connection to the last header of its first request,
      if this is shorter than ``header_timeout_seconds``.
    - ``header_timeout_seconds``: from the end of one request to the last header of the next.
    - ``write_timeout_seconds``: how long a client may accept none of the data that waits for it.
    - ``cors_origins``: other sites whose pages may call this server.
    - ``trusted_hosts``: host names that requests may be addressed to. Default: loopback names on loopback, any
      elsewhere.
    - ``trusted_proxies``: addresses and networks of proxies whose X-Forwarded-For and -Proto are believed.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8080
    workers: Annotated[int, msgspec.Meta(ge=1, le=256)] | Literal["auto"] = 1
    max_body_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 4 * 1024 * 1024
    max_bodies_bytes: Annotated[int, msgspec.Meta(ge=2048)] = 256 * 1024 * 1024
    max_json_depth: Annotated[int, msgspec.Meta(ge=8, le=500)] = 100
    max_json_members: Annotated[int, msgspec.Meta(ge=1000)] = 50_000
    max_url_bytes: Annotated[int, msgspec.Meta(ge=256, le=65536)] = 8192
    max_header_bytes: Annotated[int, msgspec.Meta(ge=1024, le=1048576)] = 32768
    max_headers: Annotated[int, msgspec.Meta(ge=10)] = 100
    max_connections: Count = 2048
    max_connections_per_address: Count = 64
    first_request_timeout_seconds: Patience = 10.0
    header_timeout_seconds: Patience = 60.0
    body_timeout_seconds: Patience = 120.0
    write_timeout_seconds: Patience = 60.0
    grace_seconds: Seconds = 30.0
    keepalive_seconds: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    cors_origins: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    tls: TlsSettings | None = None
    api_prefixes: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("/api/v1", "/v1")
    trusted_proxies: tuple[str, ...] = ()

    @property
    def loops(self) -> int:
        """The number of web loops."""
        return max(1, (os.cpu_count() or 1) // 4) if self.workers == "auto" else self.workers

    def __post_init__(self) -> None:
        if self.max_bodies_bytes < 2 * self.max_body_bytes:
            raise ValueError("max_bodies_bytes: Too small for one body; allowed: at least twice max_body_bytes.")
        for prefix in self.api_prefixes:
            if not prefix.startswith("/"):
                raise ValueError(f"api_prefixes: {prefix!r} must begin with '/'.")
        for origin in self.cors_origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"cors_origins: {origin!r} is not exactly one origin; allowed: origins like "
                    "https://app.example.com, in lower case, without path and without *."
                )
        for host in self.trusted_hosts:
            if host != ANY_HOST and not _HOST.fullmatch(host):
                raise ValueError(
                    f"trusted_hosts: {host!r} is not a host name; allowed: names in lower case without port, "
                    "addresses, IPv6 ones in brackets, or '*' for any."
                )
        for proxy in self.trusted_proxies:
            try:
                network_of(proxy)
            except ValueError as error:
                raise ValueError(
                    f"trusted_proxies: {error}; allowed: addresses and networks like 10.0.0.0/8."
                ) from None


class StreamSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Streams that continue without their client.

    - ``keep_seconds``: how long after its end a stream can be resumed.
    - ``max_bytes``: how much of one stream is kept.
    - ``max_total_bytes``: how much of all streams together is kept.
    """

    keep_seconds: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 60.0
    max_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 8 * 1024 * 1024
    max_total_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 128 * 1024 * 1024


class AccessSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Access without credentials.

    - ``anonymous``: from where the models may be used so. auto is on-loopback, or refuse where other settings show
      that others can reach the server (``jan.settings.exposure``).
    """

    anonymous: Literal["auto", "refuse", "on-loopback", "anyone-who-can-reach-this-server"] = "auto"
