"""The server's parts that every handler receives, typed and frozen. There are no globals.

The store is not among them: handlers ask the services over it.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

import msgspec
from prometheus_client.core import GaugeMetricFamily, Metric

from jan.audit.trail import AuditTrail
from jan.auth.browser_sessions import BrowserSessions
from jan.auth.credentials import Credentials
from jan.auth.encrypted_texts import EncryptedTexts
from jan.auth.keyring import Keyring
from jan.auth.oidc.sign_in import SignIn
from jan.auth.running import RunningWork
from jan.auth.sessions import Sessions
from jan.background.answer_queue import AnswerQueue
from jan.conversations import Conversations, Shares, StoredCompletions
from jan.engine.models import ServedModels
from jan.generation.hooks import Hooks
from jan.http.anonymous import AnonymousPolicy
from jan.http.body import BodyRoom
from jan.http.healthchecks import Probes
from jan.http.origins import OriginPolicy
from jan.http.resumable import StreamLogs
from jan.http.session_cookies import SessionCookies
from jan.idempotency.once import Idempotency
from jan.limits import Ledger, Limiter
from jan.people.key_grants import KeyGrants
from jan.people.keys import UserKeys
from jan.people.presets import UserPresets
from jan.people.usage import UsageReports
from jan.people.user_deletion import UserDeletion
from jan.people.users import Users
from jan.rendering.renderer import Renderer
from jan.settings import Settings
from jan.settings.addresses import TrustedProxies
from jan.telemetry.client_addresses import ClientAddresses
from jan.telemetry.metrics import Metrics
from jan.telemetry.request_record import Tracing

# How long a request that is ended may take to send its error.
_LAST_WORDS_SECONDS = 2.0


class LiveRequest(Protocol):
    """A request that is being served; ``streaming`` once it sends events."""

    streaming: bool

    def shut_down(self) -> None:
        """End the request now, with an error for its client."""
        ...


class LiveRequests:
    """The requests that are being served, so that a shutdown can drain them. Also a Prometheus collector."""

    def __init__(self) -> None:
        self._live: set[LiveRequest] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self.draining = False

    def add(self, request: LiveRequest) -> None:
        """Count a request that begins."""
        self._live.add(request)
        self._empty.clear()

    def remove(self, request: LiveRequest) -> None:
        """Count a request no longer, because it ended."""
        self._live.discard(request)
        if not self._live:
            self._empty.set()

    async def drain(self, grace_seconds: float) -> int:
        """Refuse new requests, wait for the others up to ``grace_seconds``, then end those that are left.

        Returns how many it ended.
        """
        self.draining = True
        try:
            async with asyncio.timeout(grace_seconds):
                await self._empty.wait()
        except TimeoutError:
            ended = list(self._live)
            for request in ended:
                request.shut_down()
            # A client that reads nothing gets no error; its connection is closed all the same.
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_SECONDS):
                    await self._empty.wait()
            return len(ended)
        return 0

    def collect(self) -> Iterable[Metric]:
        """Return the number of live requests and of those that stream."""
        streams = sum(request.streaming for request in self._live)
        return [
            GaugeMetricFamily("jan_http_live_requests", "Requests under way", value=len(self._live)),
            GaugeMetricFamily("jan_http_live_streams", "Those of them that send events", value=streams),
        ]


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """All parts of a server that handlers use.

    ``document`` is the OpenAPI document, encoded. ``tracing`` is None if it is not configured.
    """

    settings: Settings
    models: ServedModels
    metrics: Metrics
    tracing: Tracing | None
    live: LiveRequests
    running: RunningWork
    bodies: BodyRoom
    proxies: TrustedProxies
    addresses: ClientAddresses
    audit: AuditTrail
    limiter: Limiter
    ledger: Ledger
    origins: OriginPolicy
    cookies: SessionCookies
    anonymous: AnonymousPolicy
    conversations: Conversations
    completions: StoredCompletions
    shares: Shares
    background: AnswerQueue
    idempotency: Idempotency
    streams: StreamLogs
    hooks: Hooks
    users: Users
    keys: UserKeys
    key_grants: KeyGrants
    presets: UserPresets
    sessions: Sessions
    browsers: BrowserSessions
    deletion: UserDeletion
    usage: UsageReports
    credentials: Credentials
    keyring: Keyring
    encrypted_texts: EncryptedTexts
    sign_in: SignIn
    renderer: Renderer
    probes: Probes
    document: bytes
