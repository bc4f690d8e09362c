"""Every setting there is, typed: what a configuration file may say. ``jan.settings.load`` reads it."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from jan.settings.addresses import is_safe_url
from jan.settings.auth import AuthSettings
from jan.settings.limits import LimitSettings
from jan.settings.models import ModelSettings, RouteSettings
from jan.settings.server import ANYONE, AccessSettings, ServerSettings, StreamSettings
from jan.settings.sign_in import SignInSettings
from jan.settings.tracing import TracingSettings

__all__ = [
    "ANYONE",
    "AccessSettings",
    "AuthSettings",
    "ExternalSettings",
    "LimitSettings",
    "LogSettings",
    "ModelSettings",
    "RouteSettings",
    "ServerSettings",
    "Settings",
    "SignInSettings",
    "StorageSettings",
    "StreamSettings",
    "TracingSettings",
]


class StorageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``url``: sqlite:///relative.db, sqlite:////absolute.db or mongodb://...; none is jan.db in the data
    folder. ``timeout_seconds``: how long a request waits for a store that is away."""

    url: str | None = None
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0)] = 2.0

    def __repr__(self) -> str:
        return "StorageSettings(...)"  # the URL may hold a password


class ExternalSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Services elsewhere that GET /status probes. ``serper_url``: of the Serper search API."""

    serper_url: str | None = None

    def __post_init__(self) -> None:
        if self.serper_url and not is_safe_url(self.serper_url):
            raise ValueError("serper_url must be an https:// URL without a password, or http:// on loopback")


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``format`` auto: readable on a terminal, JSON elsewhere."""

    format: Literal["auto", "json", "console"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration. ``data``: where the server keeps its files."""

    data: str = "data"
    server: ServerSettings = ServerSettings()
    access: AccessSettings = AccessSettings()
    streams: StreamSettings = StreamSettings()
    storage: StorageSettings = StorageSettings()
    auth: AuthSettings = AuthSettings()
    limits: LimitSettings = LimitSettings()
    sign_in: SignInSettings = SignInSettings()
    external: ExternalSettings = ExternalSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()
    models: tuple[ModelSettings, ...] = ()
    routes: tuple[RouteSettings, ...] = ()

    @property
    def storage_url(self) -> str:
        """The store's URL; may hold a password."""
        return self.storage.url or f"sqlite:///{Path(self.data) / 'jan.db'}"
