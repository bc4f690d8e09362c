"""Checks that the server's parts work by using them, each within a time limit."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from jan.engine.base import EmbeddingPrompt, GenerationRequest, ModelInfo, PairPrompt, TextPrompt
from jan.engine.isolation.process_engine import ProcessEngine
from jan.engine.iterate import events_of
from jan.engine.models import ServedModel, ServedModels
from jan.errors import JanError, Unavailable
from jan.schema.status import Condition, ExternalApis, Processes, ProcessUse, Status
from jan.settings import ExternalSettings
from jan.storage.repositories import Store
from jan.telemetry.process_use import use_of

_LIMIT_SECONDS = 2.0


class Probes:
    """Health checks of one server's parts. ``all_processes`` is asked where there are several web loops."""

    def __init__(
        self,
        models: ServedModels,
        store: Store,
        external: ExternalSettings,
        all_processes: Callable[[], Awaitable[tuple[ProcessUse, ...]]] | None = None,
    ) -> None:
        self._all_processes = all_processes
        self._models = models
        self._store = store
        self._external = external

    async def status(self) -> Status:
        """Check all parts at the same time."""
        inference, database, serper = await asyncio.gather(
            _condition(self._check_models()), _condition(self._store.ping()), self._serper()
        )
        return Status(
            api_gateway="healthy",
            inference_model=inference,
            database=database,
            external_apis=ExternalApis(serper=serper),
        )

    async def processes(self) -> Processes:
        """List the server's processes and what they use."""
        if self._all_processes is not None:
            return Processes(processes=await self._all_processes())
        engines = (
            (model.id, model.engine.pid) for model in self._models if isinstance(model.engine, ProcessEngine)
        )
        used = [use_of("engine", name, pid) for name, pid in engines if pid is not None]
        return Processes(processes=(use_of("server", "", os.getpid()), *used))

    async def problems(self) -> list[str]:
        """List what keeps the server from being ready. Empty if it is ready."""
        problems = [reason for model in self._models if (reason := model.engine.trouble) is not None]
        if await _condition(self._store.ping()) != "healthy":
            problems.append("The store can't be reached.")
        return problems

    async def _check_models(self) -> None:
        """Raise Unavailable unless every loaded model's thread accepts a request and none has a problem."""
        for model in self._models:
            if (reason := model.engine.trouble) is not None:
                raise Unavailable(reason)
            if model.loaded:
                await _ask(model)

    async def _serper(self) -> Condition:
        if not self._external.serper_url:
            return "not_configured"
        request = HTTPRequest(self._external.serper_url, request_timeout=_LIMIT_SECONDS, follow_redirects=False)
        try:
            await AsyncHTTPClient().fetch(request)
        except HTTPClientError as error:
            # Any answer counts, even a refusal or a redirect. Tornado's 599 means that there was none.
            return "healthy" if error.code < 500 else "unhealthy"
        except (OSError, ValueError):
            return "unhealthy"
        return "healthy"


async def _ask(model: ServedModel) -> None:
    """Send a request through the engine's thread that generates nothing."""
    request = GenerationRequest(prompt=_probe_of(model.engine.info), max_tokens=0, owner="probe")
    async with aclosing(events_of(model.engine, request)) as events:
        try:
            await anext(events)
        except Unavailable as error:
            if error.code != "overloaded":  # a model that is too busy is not broken
                raise


def _probe_of(info: ModelInfo) -> TextPrompt | EmbeddingPrompt | PairPrompt:
    if info.generates:
        return TextPrompt("ping")
    if info.scores:
        return PairPrompt(ones=("ping",), others=("ping",), named=("query", "documents[0]"))
    return EmbeddingPrompt(inputs=("ping",))


async def _condition(probe: Awaitable[None]) -> Condition:
    try:
        async with asyncio.timeout(_LIMIT_SECONDS):
            await probe
    except (JanError, TimeoutError):
        return "unhealthy"
    return "healthy"
