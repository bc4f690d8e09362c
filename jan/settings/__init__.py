"""Every setting of a configuration file, typed. ``jan.settings.load`` reads them."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from jan.errors import ConfigurationError
from jan.schema.suggest import did_you_mean
from jan.settings.addresses import is_safe_url
from jan.settings.audit import AuditSettings
from jan.settings.auth import AuthSettings
from jan.settings.limits import LimitSettings
from jan.settings.models import ModelSettings, RouteSettings
from jan.settings.names import DottedName
from jan.settings.responses import ResponseSettings
from jan.settings.server import ANYONE, AccessSettings, ServerSettings, StreamSettings
from jan.settings.shares import ShareSettings
from jan.settings.sign_in import SignInSettings
from jan.settings.tracing import TracingSettings

__all__ = [
    "ANYONE",
    "AccessSettings",
    "AuditSettings",
    "AuthSettings",
    "ExternalSettings",
    "LimitSettings",
    "LogSettings",
    "ModelSettings",
    "ResponseSettings",
    "RouteSettings",
    "ServerSettings",
    "Settings",
    "ShareSettings",
    "SignInSettings",
    "StorageSettings",
    "StreamSettings",
    "TracingSettings",
]


class StorageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The store and how to reach it.

    - ``url``: sqlite:///relative.db, sqlite:////absolute.db or mongodb://...; default: jan.db in the data folder.
    - ``url_file``: a file with the URL, instead of the URL.
    - ``timeout_seconds``: how long a request waits for a store that is unreachable.
    """

    url: str | None = None
    url_file: str | None = None
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0)] = 2.0

    def __repr__(self) -> str:
        return "StorageSettings(...)"  # the URL may hold a password


class ExternalSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """External services that GET /status probes. ``serper_url`` is the Serper search API."""

    serper_url: str | None = None

    def __post_init__(self) -> None:
        if self.serper_url and not is_safe_url(self.serper_url):
            raise ValueError(
                "serper_url: Not a safe URL; allowed: https:// without password, or http:// on loopback."
            )


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The server's log. ``format`` auto is readable on a terminal and JSON elsewhere. ``addresses`` of clients are
    shown as they are, or hashed with the server's key, here and in the audit."""

    format: Literal["auto", "json", "console"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"
    addresses: Literal["plain", "hashed"] = "plain"


# YAML reads on and off as booleans.
Switch = bool | Literal["on", "off"]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration. ``data`` is the folder where the server keeps its files. ``hooks`` are classes, by
    their dotted names, that see requests to models and their answers. ``endpoints`` switches groups of routes."""

    data: str = "data"
    server: ServerSettings = ServerSettings()
    access: AccessSettings = AccessSettings()
    streams: StreamSettings = StreamSettings()
    responses: ResponseSettings = ResponseSettings()
    shares: ShareSettings = ShareSettings()
    storage: StorageSettings = StorageSettings()
    auth: AuthSettings = AuthSettings()
    audit: AuditSettings = AuditSettings()
    limits: LimitSettings = LimitSettings()
    sign_in: SignInSettings = SignInSettings()
    external: ExternalSettings = ExternalSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()
    models: tuple[ModelSettings, ...] = ()
    routes: tuple[RouteSettings, ...] = ()
    endpoints: dict[str, Switch] = {}
    hooks: tuple[DottedName, ...] = ()

    @property
    def served_routes(self) -> tuple[RouteSettings, ...]:
        """The routes whose group is not switched off. Raises ConfigurationError for a group that no route has."""
        groups = sorted({route.group for route in self.routes} - {""})
        for name in self.endpoints:
            if name not in groups:
                raise ConfigurationError(
                    f"endpoints.{name}: There is no such group of routes; allowed: {', '.join(groups)}."
                    f"{did_you_mean(name, groups)}"
                )
        return tuple(route for route in self.routes if self.endpoints.get(route.group, True) in (True, "on"))

    @property
    def has_page(self) -> bool:
        """True if the web page is served, at /."""
        return any(route.group == "page" for route in self.served_routes)

    def page_url(self, served_at: str = "") -> str:
        """Return the URL of the web page without a slash at its end: the public one, else that where the server is
        ``served_at``, by default the configured address."""
        if self.sign_in.public_url is not None:
            return self.sign_in.public_url.rstrip("/")
        host = f"[{self.server.host}]" if ":" in self.server.host else self.server.host
        url = served_at or f"http{'' if self.server.tls is None else 's'}://{host}:{self.server.port}"
        return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")

    @property
    def storage_url(self) -> str:
        """The store's URL. It may hold a password."""
        return self.storage.url or f"sqlite:///{Path(self.data) / 'jan.db'}"
