"""The composition root: settings in, a running server out; start, serve, drain, stop."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import msgspec
import structlog
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.routing import URLSpec
from tornado.web import Application

from jan.auth.accounts import Accounts
from jan.auth.keyring import Keyring
from jan.auth.oidc.sign_in import SignIn
from jan.auth.tokens import Tokens
from jan.body import DRAIN_FACTOR
from jan.config import AuthSettings, Settings
from jan.conversations import Conversations
from jan.engine.models import LoadReport, Models
from jan.errors import ConfigurationError
from jan.handler import UnknownUrl
from jan.metrics import Metrics
from jan.openapi import build_document
from jan.probes import Probes
from jan.routes import Route, resolve_routes
from jan.services import LiveRequests, Services
from jan.storage import Store, open_store
from jan.store_keeper import StoreKeeper

log = structlog.get_logger(__name__)


class CannotListen(ConfigurationError):
    """The address can't be listened on."""


class Server:
    """One server: everything is checked when it is made, nothing runs before ``start``.

    ``show_late_key`` gets the first administrator's key if the store was away when the server started.
    """

    def __init__(self, settings: Settings, *, show_late_key: Callable[[str], None]) -> None:
        self.settings = settings
        self.routes = resolve_routes(settings.routes, settings.server.api_prefixes)
        self.models = Models(settings.models)
        store = open_store(settings.storage_url, timeout=settings.storage.timeout_seconds)
        self._keyring = make_keyring(settings)
        accounts = make_accounts(settings.auth, store, self._keyring)
        self._keeper = StoreKeeper(
            store, accounts, create_admin=settings.auth.create_admin, show_late_key=show_late_key
        )
        self._conversations = Conversations(store)
        metrics, self._live = Metrics(), LiveRequests()
        metrics.registry.register(self.models)
        metrics.registry.register(self._live)
        services = Services(
            settings=settings,
            models=self.models,
            metrics=metrics,
            live=self._live,
            store=store,
            conversations=self._conversations,
            accounts=accounts,
            keyring=self._keyring,
            sign_in=SignIn(settings.sign_in, self._keyring, store, accounts),
            probes=Probes(self.models, store, settings.external),
            document=msgspec.json.encode(build_document(self.routes)),
        )
        self._http = HTTPServer(
            _application(self.routes, services),
            max_body_size=settings.server.max_body_bytes * DRAIN_FACTOR + 1,
        )

    async def start(self, report: LoadReport) -> list[str]:
        """Take the port, load the eager models, begin to serve; returns the server's base URLs.

        Raises CannotListen, or ConfigurationError for a model. The port is taken first because it is the
        quickest to fail; clients that come while a model loads are served as soon as it is there.
        """
        sockets = self._listen()
        try:
            self._keyring.load()
            await self._keeper.open()
            await self.models.start(report)
        except BaseException:
            for bound in sockets:
                bound.close()
            raise
        self._http.add_sockets(sockets)
        return [_url(bound) for bound in sockets]

    def _listen(self) -> list[socket.socket]:
        host, port = self.settings.server.host, self.settings.server.port
        try:
            return bind_sockets(port, host)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            raise CannotListen(
                f"can't listen on {host}:{port}: {reason}; choose another with --port or server.port"
            ) from error

    @property
    def admin_key(self) -> str | None:
        """The key made at this first start, to be shown once; None at any other."""
        return self._keeper.admin_key

    async def stop(self) -> None:
        """Stop accepting, let answers finish within the grace period, end the rest, free the models."""
        self._http.stop()
        ended = await self._live.drain(self.settings.server.grace_seconds)
        await self._http.close_all_connections()
        await self.models.close()
        await self._conversations.close()
        await self._keeper.close()
        log.info("stopped", ended_early=ended)


def make_keyring(settings: Settings) -> Keyring:
    """The signing keys in the data folder; not read yet."""
    return Keyring(Path(settings.data) / "signing-keys", settings.auth.algorithm)


def make_accounts(settings: AuthSettings, store: Store, keyring: Keyring) -> Accounts:
    """Accounts over a store, as configured; the command line makes its own."""
    tokens = Tokens(
        keyring,
        issuer=settings.issuer,
        audience=settings.audience,
        lifetime=timedelta(seconds=settings.token_seconds),
        leeway=timedelta(seconds=settings.leeway_seconds),
    )
    return Accounts(
        store,
        tokens,
        refresh_grace=timedelta(seconds=settings.refresh_grace_seconds),
        session_lifetime=timedelta(seconds=settings.session_seconds),
    )


def _application(routes: Sequence[Route], services: Services) -> Application:
    specs = [
        URLSpec(
            route.pattern,
            route.handler,
            {"services": services, "route_name": route.name, "route_options": route.options},
            name=f"{route.name}:{route.path}",
        )
        for route in routes
    ]
    return Application(
        specs,
        default_handler_class=UnknownUrl,
        default_handler_args={"services": services},
        # Handlers write their own line.
        log_function=lambda _handler: None,
    )


def _url(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if bound.family == socket.AF_INET6 else f"http://{host}:{port}"


async def serve_until_signalled(server: Server, report: LoadReport, announce: Callable[[list[str]], None]) -> None:
    """Run until SIGTERM or SIGINT; a second signal ends the process at once."""
    stopping = asyncio.Event()

    def on_signal() -> None:
        if stopping.is_set():
            os._exit(130)
        stopping.set()

    urls = await server.start(report)
    # After the models: loading a library may replace signal handlers.
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # not on Windows, where Ctrl-C raises instead
            asyncio.get_running_loop().add_signal_handler(number, on_signal)
    announce(urls)
    await stopping.wait()
    log.info("stopping", grace_seconds=server.settings.server.grace_seconds)
    await server.stop()
