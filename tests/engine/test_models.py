"""Models that are loaded at their first request."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from jan.engine.base import EngineStats, Event, GenerationRequest, ModelInfo, OnProgress
from jan.engine.fingerprint import fingerprint_of
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


def test_a_fingerprint_is_that_of_the_weights(tmp_path: Path) -> None:
    """Another name changes nothing; another engine, other bytes at the beginning or the end, or fewer, do."""
    files = [tmp_path / name for name in ("a", "b", "c", "d", "e")]
    weights = b"head" + bytes(3_000_000) + b"tail"
    changed = (weights, weights, b"Head" + weights[4:], weights[:-1] + b"L", weights[:4] + weights[5:])
    for file, data in zip(files, changed, strict=True):
        file.write_bytes(data)
    found = [fingerprint_of("x", "", [file]) for file in files]
    assert found[0] == found[1]
    assert len({*found, fingerprint_of("y", "", files[:1]), fingerprint_of("x", "msgspec", files[:1])}) == 6
