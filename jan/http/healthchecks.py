"""Whether the server's parts work, found out by using them, each within a time limit."""

import asyncio
from collections.abc import Awaitable
from contextlib import aclosing

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from jan.engine.base import GenerationRequest, TextPrompt
from jan.engine.models import ServedModel, ServedModels
from jan.errors import JanError, Unavailable
from jan.schema.status import Condition, ExternalApis, Status
from jan.settings import ExternalSettings
from jan.storage.repositories import Store

_LIMIT_SECONDS = 2.0


class Probes:
    """Probes of one server's parts."""

    def __init__(self, models: ServedModels, store: Store, external: ExternalSettings) -> None:
        self._models = models
        self._store = store
        self._external = external

    async def status(self) -> Status:
        """All parts at once."""
        inference, database, serper = await asyncio.gather(
            _condition(self._check_models()), _condition(self._store.ping()), self._serper()
        )
        return Status(
            api_gateway="healthy",
            inference_model=inference,
            database=database,
            external_apis=ExternalApis(serper=serper),
        )

    async def problems(self) -> list[str]:
        """What keeps the server from being ready; empty if nothing does."""
        problems = [reason for model in self._models if (reason := model.engine.trouble) is not None]
        if await _condition(self._store.ping()) != "healthy":
            problems.append("the store is away")
        return problems

    async def _check_models(self) -> None:
        """Raises Unavailable unless every loaded model's thread takes a request and none is in trouble."""
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
            # An answer that refuses us, or sends us elsewhere, is one; 599 is Tornado's number for none at all.
            return "healthy" if error.code < 500 else "unhealthy"
        except (OSError, ValueError):
            return "unhealthy"
        return "healthy"


async def _ask(model: ServedModel) -> None:
    """One trip through the engine's thread: a request that generates nothing."""
    request = GenerationRequest(prompt=TextPrompt("ping"), max_tokens=0, owner="probe")
    async with aclosing(model.engine.submit(request)) as events:
        try:
            await anext(events)
        except Unavailable as error:
            if error.code != "overloaded":  # too busy for more is not broken
                raise


async def _condition(probe: Awaitable[None]) -> Condition:
    try:
        await asyncio.wait_for(probe, _LIMIT_SECONDS)
    except (JanError, TimeoutError):
        return "unhealthy"
    return "healthy"
