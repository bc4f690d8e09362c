"""Models that are loaded at their first request."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from jan.engine.base import EngineStats, Event, GenerationRequest, ModelInfo, OnProgress
from jan.engine.models import ServedModel
from jan.errors import ConfigurationError
from jan.settings import ModelSettings


class SlowEngine:
    """An engine whose start ends when a test says so."""

    info = ModelInfo(context_length=1)
    stats = EngineStats()
    healthy = True

    def __init__(self) -> None:
        self.starts: list[asyncio.Future[None]] = []

    async def start(self, progress: OnProgress) -> None:
        self.starts.append(asyncio.get_running_loop().create_future())
        await self.starts[-1]

    def submit(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        raise NotImplementedError

    async def close(self) -> None:
        pass


def lazy() -> tuple[ServedModel, SlowEngine]:
    engine = SlowEngine()
    return ServedModel(ModelSettings(id="m", engine="echo", load="lazy"), engine), engine


async def ask(model: ServedModel) -> "asyncio.Task[None]":
    """Return a request that waits for the model."""
    task = asyncio.create_task(model.load(lambda _model, _part: None))
    await asyncio.sleep(0.01)
    return task


def test_a_load_outlives_the_client_that_began_it() -> None:
    """A second request joins the load whose first client has left; the engine is not started twice."""

    async def main() -> None:
        model, engine = lazy()
        first = await ask(model)
        first.cancel()
        second = await ask(model)
        engine.starts[0].set_result(None)
        await second
        assert first.cancelled()
        assert model.loaded
        assert len(engine.starts) == 1

    asyncio.run(main())


def test_a_failed_load_fails_those_who_wait_and_is_tried_again() -> None:
    """All waiting requests fail, and the next request loads again."""

    async def main() -> None:
        model, engine = lazy()
        waiting = [await ask(model), await ask(model)]
        engine.starts[0].set_exception(ConfigurationError("not now"))
        for task in waiting:
            with pytest.raises(ConfigurationError):
                await task
        third = await ask(model)
        engine.starts[1].set_result(None)
        await third
        assert model.loaded

    asyncio.run(main())
