"""Put the server together from its settings; start it, serve, drain, stop."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import structlog

from jan.auth.encrypted_texts import EncryptedTexts
from jan.auth.oidc.sign_in import SignIn
from jan.auth.running import RunningWork
from jan.background.answer_queue import AnswerQueue
from jan.background.workers import BackgroundWorkers
from jan.conversations import Conversations, Shares, StoredCompletions
from jan.engine.models import LoadReport, ServedModels
from jan.errors import ConfigurationError, Mistakes
from jan.generation.hooks import Hooks
from jan.http.anonymous import AnonymousPolicy
from jan.http.body import BodyRoom
from jan.http.connections import ConnectionServer, allow_files
from jan.http.healthchecks import Probes
from jan.http.listening import listen, url_of
from jan.http.origins import OriginPolicy
from jan.http.resumable import StreamLogs
from jan.http.session_cookies import SessionCookies
from jan.http.tls import load_context
from jan.http.unknown_url import UnknownUrl
from jan.idempotency.once import Idempotency
from jan.limits import UsageLimits
from jan.limits.memory import MemoryCounters
from jan.loops.member import Member
from jan.people.assembly import People, configuration_hash, make_audit, make_keyring, make_people, make_store
from jan.people.key_grants import KeyGrants
from jan.people.presets import UserPresets
from jan.people.quotas import Quotas
from jan.people.store_keeper import StoreKeeper
from jan.people.usage import UsageReports
from jan.rendering.renderer import Renderer
from jan.routing.openapi import build_document
from jan.routing.routed_application import RoutedApplication
from jan.routing.table import served_routes
from jan.services import LiveRequests, Services
from jan.settings import Settings
from jan.settings.addresses import TrustedProxies
from jan.storage import check_store
from jan.storage.measured import MeasuredStore
from jan.tasks import described, end
from jan.telemetry.client_addresses import ClientAddresses
from jan.telemetry.metrics import LoopLag, Metrics
from jan.telemetry.trace_sender import make_tracing

log = structlog.get_logger(__name__)

# How long a client that has a connection may take to ask for something more, before it has to make another one.
_HAND_OVER_SECONDS = 1.0
# How long a part may take to stop, beyond the grace period. Those that may wait for others have shorter limits.
_PART_SECONDS = 40.0


class Server:
    """One server. Everything is checked when it is made; nothing runs before ``start``.

    ``show_late_key`` gets the first administrator's key if the store was away when the server started. ``member``:
    what it shares with others, if it is one web loop of several.
    """

    def __init__(
        self, settings: Settings, *, show_late_key: Callable[[str], None], member: Member | None = None
    ) -> None:
        self.settings = settings
        self._member = member
        metrics, self._live = Metrics(), LiveRequests()
        mistakes = Mistakes()
        with mistakes.collecting():
            self.routes = served_routes(settings)
        with mistakes.collecting():
            self.models = ServedModels(
                settings.models, Path(settings.data) / "run", *(() if member is None else (member.engine,))
            )
        with mistakes.collecting():
            self._hooks = Hooks(settings.hooks, metrics)
        with mistakes.collecting():
            tls = None if settings.server.tls is None else load_context(settings.server.tls)
        with mistakes.collecting():
            backend = make_store(settings)
        with mistakes.collecting():
            self._tracing = make_tracing(settings.tracing)
        mistakes.raise_any()
        self._lag, store = LoopLag(metrics), MeasuredStore(backend, metrics)
        self._keyring = make_keyring(settings)
        addresses = ClientAddresses(hashed=settings.log.addresses == "hashed", derived=self._keyring.derived)
        self._audit = make_audit(settings, store, self._keyring, addresses)
        people = make_people(settings.auth, store, self._keyring, self._audit)
        self._keeper = StoreKeeper(
            store,
            people,
            create_admin=settings.auth.create_admin,
            show_late_key=show_late_key,
            with_link=settings.has_page,
            keep_responses=settings.responses.kept,
            tidies=member is None or member.first,
        )
        self._running = RunningWork(store, people.credentials.forget)
        people.credentials.on_change = self._running.look_now
        self._conversations, self._renderer = Conversations(store), Renderer()
        self._background = AnswerQueue(store, settings.responses)
        self._idempotency = Idempotency(store.idempotent_answers)
        own_counters = MemoryCounters() if member is None else member.counters
        self._accounting = UsageLimits(settings, store.counters, own_counters, store.usage, metrics)
        for collector in (self._live, self._audit, self._background):
            metrics.registry.register(collector)
        if member is None or member.first:  # the engines are the same for all loops
            metrics.registry.register(self.models)
        if member is not None:
            metrics.gather = member.all_metrics
        self.services = self._services(store, people, addresses, metrics)
        self._workers = BackgroundWorkers(self.services, [route.handler for route in self.routes])
        self._http = ConnectionServer(
            self._application(), settings.server, tls, metrics.count_malformed, addresses.shown, member is not None
        )

    def _services(
        self, store: MeasuredStore, people: People, addresses: ClientAddresses, metrics: Metrics
    ) -> Services:
        """Gather the parts that handlers use."""
        settings = self.settings
        public_url, proxies = settings.sign_in.public_url, TrustedProxies(settings.server.trusted_proxies)
        return Services(
            settings=settings,
            models=self.models,
            metrics=metrics,
            tracing=self._tracing,
            live=self._live,
            running=self._running,
            bodies=BodyRoom(settings.server.max_bodies_bytes),
            proxies=proxies,
            addresses=addresses,
            audit=self._audit,
            limiter=self._accounting.limiter,
            ledger=self._accounting.ledger,
            origins=OriginPolicy(settings.server, public_url),
            cookies=SessionCookies(settings.server, public_url, proxies, self._keyring.server_id),
            anonymous=AnonymousPolicy(settings),
            conversations=self._conversations,
            completions=StoredCompletions(store, self._conversations),
            shares=Shares(store, self._audit, settings.shares),
            background=self._background,
            idempotency=self._idempotency,
            streams=StreamLogs(
                settings.streams,
                self._live,
                self._running,
                None if self._member is None else self._member.elsewhere,
            ),
            hooks=self._hooks,
            users=people.users,
            keys=people.keys,
            key_grants=KeyGrants(people.keys, self._accounting.limiter, settings.auth.key_rotation_grace_seconds),
            presets=UserPresets(store),
            sessions=people.sessions,
            browsers=people.browsers,
            deletion=people.deletion,
            usage=UsageReports(people.users, self._accounting, Quotas(store, settings.limits.quota)),
            credentials=people.credentials,
            keyring=self._keyring,
            encrypted_texts=EncryptedTexts(self._keyring.derived),
            sign_in=SignIn(settings.sign_in, self._keyring, store, people.sessions, self._audit),
            renderer=self._renderer,
            probes=Probes(
                self.models, store, settings.external, None if self._member is None else self._member.all_processes
            ),
            document=msgspec.json.encode(build_document(self.routes)),
        )

    def _application(self) -> RoutedApplication:
        """Make what finds the handler of a request."""
        return RoutedApplication(
            self.routes,
            self.services,
            default_handler_class=UnknownUrl,
            default_handler_args={"services": self.services},
            # Handlers write their own line in the log.
            log_function=lambda _handler: None,
        )

    def check(self) -> None:
        """Check what ``start`` needs on the disk, without making or opening anything. Raises ConfigurationError.

        Whether the port is free, a store elsewhere answers, and the models load, is known only by trying.
        """
        self._keyring.check()
        check_store(self.settings.storage_url)

    async def discard(self) -> None:
        """Free a server that was never started."""
        await self._keeper.close()
        if self._tracing is not None:
            await self._tracing.close()

    async def start(self, report: LoadReport) -> list[str]:
        """Take the port, open the store, load the eager models, and begin to serve. Returns the server's base
        URLs.

        Raises CannotListen, or ConfigurationError for a model. The port is taken first, because that fails
        fastest. Clients that connect while a model loads are served as soon as it is loaded.
        """
        self.check()
        settings, member = self.settings.server, self._member
        sockets = listen(settings) if member is None else member.sockets
        try:
            self.models.begin()
            self._keyring.load()
            await self._keeper.open()
            if member is None or member.starts_server:
                self._audit.note("server.started", configuration=configuration_hash(self.settings, self._keyring))
            self._accounting.start()
            await self.models.start(report)
        except BaseException:
            for bound in sockets:
                bound.close()
            await self.models.rest()
            raise
        self.services.anonymous.announce()
        self._workers.start()
        self._lag.start()
        allow_files(settings.max_connections)
        self._http.add_sockets(sockets)
        self._http.watch()
        scheme = "http" if settings.tls is None else "https"
        return [url_of(scheme, bound) for bound in sockets]

    def reload_certificate(self) -> None:
        """Read the TLS files again, for new connections. Broken files change nothing."""
        tls = self.settings.server.tls
        if tls is None:
            log.info("nothing to read again; the server goes on", signal="SIGHUP")
            return
        try:
            self._http.ssl_options = load_context(tls)
        except ConfigurationError as error:
            log.error("certificate not reloaded; the one before stays", reason=error.message)
        else:
            log.info("certificate reloaded", certificate=tls.certificate)

    @property
    def admin_key(self) -> str | None:
        """The administrator's key if this first start made it, to be shown once; None at any other start."""
        return self._keeper.admin_key

    @property
    def start_code(self) -> str | None:
        """The code of the link that signs the administrator in, if this first start made one."""
        return self._keeper.start_code

    async def hand_over(self) -> None:
        """Leave clients to the other web loops before this one stops."""
        await self._http.hand_over(_HAND_OVER_SECONDS)

    async def stop(self) -> bool:
        """Stop accepting, let answers finish within the grace period, end the rest, and free the models.

        Returns False if a part did not stop in time. It is left behind, with an error in the log.
        """
        self._http.stop()
        stopped = await _stopped("the background's work", self._workers.close())
        ended = await self._live.drain(self.settings.server.grace_seconds)
        stopped &= await _stopped("connections", self._http.close_all_connections())
        self.services.anonymous.close()
        works = (self._running, self.models, self._hooks, self._idempotency)
        for part in (*works, self._renderer, self._conversations, self._accounting):
            stopped &= await _stopped(type(part).__name__, part.close())
        self._audit.note("server.stopped")
        stopped &= await _stopped("the audit", self._audit.close())
        stopped &= await _stopped("the store", self._keeper.close())
        self._lag.stop()
        if self._tracing is not None:
            stopped &= await _stopped("tracing", self._tracing.close())
        log.info("stopped", ended_early=ended)
        return stopped


async def _stopped(part: str, close: Coroutine[Any, Any, None]) -> bool:
    """Wait until a part has stopped; returns False if it takes longer than ``_PART_SECONDS``."""
    closing = asyncio.create_task(close)
    await asyncio.wait({closing}, timeout=_PART_SECONDS)
    if closing.done():
        closing.result()
        return True
    log.error("a part of the server does not stop", part=part, waits=described(closing))
    await end(closing)
    return False
