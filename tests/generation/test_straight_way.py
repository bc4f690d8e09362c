"""From the engine's delivery to the socket: plain calls, nothing awaited; and what a slow client gets."""

import asyncio
import inspect
import json
import re
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from types import FrameType
from typing import Any

import pytest
import tornado.iostream
from msgspec import UNSET
from support.engine import collect, run_engine, text_request
from support.runs import run_of
from tornado.iostream import IOStream

from handlers.openai.chat.chunks import ChatTranslator
from jan.engine.backends.echo import EchoBackend, EchoOptions
from jan.engine.runtime.executor import ThreadedEngine
from jan.generation.block_sink import BlockSink
from jan.generation.delivery import GeneratedStream, MakeSink
from jan.http.outlet import EventWriter, Outlet
from jan.rendering.renderer import Renderer

TOKENS = 300
_SUSPENDS = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


class Client:
    """The far end of a stream, and the near one that the server sends by."""

    def __init__(self, send_buffer: int = 1 << 20) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._socket = socket.create_connection(listener.getsockname(), timeout=30)
            near, _ = listener.accept()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        self.stream = IOStream(near)
        self.received = bytearray()

    def outlet(self) -> Outlet:
        return Outlet(lambda: EventWriter(self.stream, chunked=False), keepalive_seconds=60)

    def read(self, until: bytes = b"data: [DONE]\n\n") -> None:
        while not self.received.endswith(until):
            piece = self._socket.recv(1 << 20)
            assert piece
            self.received += piece

    def texts(self) -> list[str]:
        """The pieces of text that came, an event each."""
        events = [json.loads(data) for data in re.findall(rb"^data: (\{.*)$", self.received, re.MULTILINE)]
        pieces = [event["choices"][0]["delta"].get("content") for event in events if event["choices"]]
        return [piece for piece in pieces if piece]

    def close(self) -> None:
        self.stream.close()
        self._socket.close()


def translator() -> ChatTranslator:
    return ChatTranslator("chatcmpl-1", "test", with_usage=True, tier=UNSET)


class Census:
    """Count by name what was created and resumed on this thread."""

    def __init__(self) -> None:
        self.resumed: list[str] = []
        self.futures = self.tasks = self.sends = 0

    def profile(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        # A generator expression waits for nothing. The engine's watch, once a second, has one.
        waits = code.co_flags & _SUSPENDS and code.co_name != "<genexpr>"
        if event == "call" and waits and "/jan/" in code.co_filename:
            self.resumed.append(code.co_qualname)
        elif event == "c_call" and getattr(argument, "__name__", "") == "send":
            self.sends += 1


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Census]:
    census, loop = Census(), asyncio.get_running_loop()

    def counting(name: str, make: Callable[..., Any]) -> Callable[..., Any]:
        def made(*arguments: Any, **options: Any) -> Any:
            setattr(census, name, getattr(census, name) + 1)
            return make(*arguments, **options)

        return made

    with monkeypatch.context() as patched:
        patched.setattr(loop, "create_future", counting("futures", loop.create_future))
        patched.setattr(loop, "create_task", counting("tasks", loop.create_task))
        patched.setattr(asyncio, "Future", counting("futures", asyncio.Future))
        patched.setattr(tornado.iostream, "Future", counting("futures", tornado.iostream.Future))
        sys.setprofile(census.profile)
        try:
            yield census
        finally:
            sys.setprofile(None)


def test_nothing_is_waited_for_on_the_way_of_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a client that keeps up: however many tokens come, there is the same handful of futures, tasks and
    resumed coroutines for the request, and every token is sent at once, as a frame of its own."""

    async def one(engine: ThreadedEngine, tokens: int) -> Census:
        with closing(Client()) as client:
            run = run_of(engine, text_request("w ", max_tokens=tokens))
            await run.start()
            with counted(monkeypatch) as census:
                await GeneratedStream(run, translator(), None).send(client.outlet())
            client.read()
            assert client.texts() == ["w "] * tokens
            return census

    async def scenario(engine: ThreadedEngine) -> None:
        few, many = await one(engine, 10), await one(engine, TOKENS)
        assert many.sends - few.sends > (TOKENS - 10) / 2
        assert (many.futures, many.tasks) == (few.futures, few.tasks)
        assert many.resumed == few.resumed
        assert len(many.resumed) < 20

    run_engine(lambda: EchoBackend(EchoOptions(repeat=1000, step_seconds=0.002)), scenario)


async def all_made(engine: ThreadedEngine) -> None:
    """Wait until a first request has ended and all its events are there: they come before those of a later one."""
    while engine.stats.finished < 1:
        await asyncio.sleep(0.01)
    await collect(engine, text_request("b", max_tokens=1))


def test_a_client_that_is_behind_misses_nothing() -> None:
    """While it reads nothing, the answer is made to its end; then it gets every piece in order, those of a long
    answer merged so that what waited was bounded."""
    tokens = 100_000

    async def scenario(engine: ThreadedEngine) -> None:
        with closing(Client(send_buffer=4096)) as client:
            run = run_of(engine, text_request("word ", max_tokens=tokens))
            await run.start()
            sending = asyncio.create_task(GeneratedStream(run, translator(), None).send(client.outlet()))
            await all_made(engine)
            assert not sending.done()
            await asyncio.to_thread(client.read)
            await sending
            texts = client.texts()
            assert "".join(texts) == "word " * tokens
            # At its start too, where the machine lets the model run ahead.
            assert {len(text) for text in texts} == {len("word "), 1024 * len("word ")}
            assert texts[-10:] == ["word "] * 10
            assert len(texts) < tokens / 2
            numbers = [int(number) for number in re.findall(rb"^id: (\d+)$", client.received, re.MULTILINE)]
            assert numbers == list(range(1, len(texts) + 4))

    run_engine(lambda: EchoBackend(EchoOptions(context=200_000, repeat=tokens)), scenario)


def test_a_client_that_is_behind_gets_blocks_behind_their_texts() -> None:
    """Blocks that are made while it reads nothing wait with the texts that they are made of."""
    titles = 3000

    async def scenario(engine: ThreadedEngine) -> None:
        renderer, made = Renderer(), translator()
        with closing(Client(send_buffer=4096)) as client:
            run = run_of(engine, text_request("# a\n\n", max_tokens=10 * titles))
            await run.start()
            sink: MakeSink = partial(BlockSink, form=made, renderer=renderer)
            sending = asyncio.create_task(GeneratedStream(run, made, None, sink).send(client.outlet()))
            await all_made(engine)
            assert not sending.done()
            await asyncio.to_thread(client.read)
            await sending
        await renderer.close()
        events = [json.loads(data) for data in re.findall(rb"^data: (\{.*)$", client.received, re.MULTILINE)]
        size, blocks = 0, []
        for event in events:
            size += sum(len(choice["delta"].get("content", "")) for choice in event["choices"])
            if "block" in event:
                blocks.append(event["block"]["index"])
                assert event["block"]["end"] <= size
        assert size == len("# a\n\n") * titles
        assert blocks == list(range(titles))
        numbers = [int(number) for number in re.findall(rb"^id: (\d+)$", client.received, re.MULTILINE)]
        assert numbers == list(range(1, len(events) + 1))

    run_engine(lambda: EchoBackend(EchoOptions(context=200_000, repeat=titles)), scenario)


def test_a_client_that_left_ends_its_run() -> None:
    """The next token that can't be sent does."""

    async def scenario(engine: ThreadedEngine) -> None:
        client = Client()
        run = run_of(engine, text_request("word ", max_tokens=5000))
        await run.start()
        sending = asyncio.create_task(GeneratedStream(run, translator(), None).send(client.outlet()))
        await asyncio.to_thread(client.read, b"\n\n")
        client.close()
        with pytest.raises(tornado.iostream.StreamClosedError):
            await sending
        while engine.stats.cancelled < 1:
            await asyncio.sleep(0.001)

    run_engine(lambda: EchoBackend(EchoOptions(context=10_000, repeat=5000, step_seconds=0.001)), scenario)
