"""The logs of streams that outlive their clients: numbers, readers, limits. Needs no server."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import msgspec
import pytest

from jan.auth.running import Permit, RunningWork
from jan.engine.base import Queued
from jan.errors import InternalError, InvalidRequest, NotFound, Unavailable
from jan.http.resumable import LogOutlet, StreamLogs
from jan.http.sse import DONE, Frames, queue_comment
from jan.http.stream_log import StreamLog
from jan.schema.scopes import Identity
from jan.services import LiveRequests
from jan.settings import StreamSettings
from jan.storage import store_from_url

ME = "user_me"


class Word(msgspec.Struct):
    word: str


class Source:
    """Events that a test gives one by one."""

    def __init__(self) -> None:
        self._given: asyncio.Queue[Word | Queued | Exception | None] = asyncio.Queue()
        self.closed = False

    def give(self, *events: Word | Queued | Exception | None) -> None:
        for event in events:
            self._given.put_nowait(event)

    async def events(self) -> AsyncGenerator[Word | Queued, None]:
        try:
            while (event := await self._given.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.closed = True

    async def send(self, outlet: LogOutlet) -> None:
        """Send them as frames, until they end."""
        frames = Frames()
        async with aclosing(self.events()) as events:
            async for event in events:
                if isinstance(event, Queued):
                    outlet.queued(queue_comment(event), 0.0)
                else:
                    outlet.send(frames.each(event), 0.0)


class Case:
    """Logs and the means to fill them."""

    def __init__(self, **settings: int | float) -> None:
        self.live = LiveRequests()
        running = RunningWork(store_from_url("sqlite:///never-opened.db", timeout=1), lambda: None)
        self.logs = StreamLogs(msgspec.convert(settings, StreamSettings), self.live, running)

    def start(self, name: str = "s") -> tuple[Source, StreamLog, "asyncio.Task[None]"]:
        source = Source()
        return source, *self.logs.start(name, Permit(Identity(owner=ME)), source.send)

    async def say(self, source: Source, log: StreamLog, *words: str) -> None:
        """Give words, and wait until the log has them."""
        wanted = log.count + len(words)
        source.give(*map(Word, words))
        await until(lambda: log.count == wanted)

    async def rest(self, log: StreamLog, number: int = 0) -> bytes:
        return b"".join([frame async for frame in self.logs.read(log, number)])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def frames(first: int, *words: str) -> bytes:
    """How words look on the wire, the first one with this number."""
    texts = (f'id: {number}\ndata: {{"word":"{word}"}}\n\n' for number, word in enumerate(words, first))
    return "".join(texts).encode()


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))  # type: ignore[arg-type]  # a coroutine, as all tests here


def test_readers_get_the_same_whenever_they_come() -> None:
    """A reader from the beginning, one from the middle and one that comes after the end: each gets all that is
    after its place, and the end."""

    async def test() -> None:
        case = Case()
        source, log, task = case.start()
        first = asyncio.create_task(case.rest(log))
        await case.say(source, log, "a", "b", "c")
        second = asyncio.create_task(case.rest(log, 2))
        await case.say(source, log, "d")
        source.give(None)
        await task
        assert await first == frames(1, "a", "b", "c", "d") + DONE
        assert await second == frames(3, "c", "d") + DONE
        assert await case.rest(log, 4) == DONE

    run(test)


def test_a_thousand_events_come_in_order() -> None:
    """More than fit into one piece are still each there, once."""

    async def test() -> None:
        case = Case()
        source, log, task = case.start()
        words = [f"w{number}" for number in range(1000)]
        source.give(*map(Word, words), None)
        await task
        assert await case.rest(log, 10) == frames(11, *words[10:]) + DONE

    run(test)


def test_an_error_ends_every_reader() -> None:
    """Each reader gets the remaining events, then the error. An unexpected error is not explained."""

    async def test() -> None:
        for raised, met in ((Unavailable("away"), Unavailable), (ValueError("bug"), InternalError)):
            case = Case()
            source, log, task = case.start()
            await case.say(source, log, "a")
            source.give(raised)
            await asyncio.wait({task})
            for _ in range(2):
                reader = case.logs.read(log, 0)
                assert await anext(reader) == frames(1, "a")
                with pytest.raises(met) as caught:
                    await anext(reader)
                assert "bug" not in str(caught.value)

    run(test)


def test_a_refusal_leaves_nothing_to_resume() -> None:
    """A stream that was refused before its first event can't be found."""

    async def test() -> None:
        case = Case()
        source, log, task = case.start()
        source.give(Unavailable("full"))
        with pytest.raises(Unavailable):
            await case.rest(log)
        await asyncio.wait({task})
        with pytest.raises(NotFound):
            case.logs.find("s", ME)

    run(test)


def test_places_in_the_queue_are_comments() -> None:
    """A reader that waits hears where the request stands; it is no event and not kept."""

    async def test() -> None:
        case = Case()
        source, log, task = case.start()
        reader = case.logs.read(log, 0)
        source.give(Queued(position=3))
        assert (await anext(reader)).startswith(b": queued, position 3")
        await case.say(source, log, "a")
        assert await anext(reader) == frames(1, "a")
        source.give(None)
        await task
        assert await anext(reader) == DONE
        await reader.aclose()
        assert await case.rest(log) == frames(1, "a") + DONE

    run(test)


def test_only_numbers_that_were_given() -> None:
    """The last number is fine, one beyond it is refused, also while more may come."""

    async def test() -> None:
        case = Case()
        source, log, _ = case.start()
        await case.say(source, log, "a", "b")
        log.check(2)
        with pytest.raises(InvalidRequest, match=r"no event 3 yet\. Its last one is 2"):
            log.check(3)

    run(test)


def test_a_stream_is_its_callers() -> None:
    """Nobody else finds it, by the same words as one that there is not."""

    async def test() -> None:
        case = Case()
        case.start()
        assert case.logs.find("s", ME).id == "s"
        with pytest.raises(NotFound) as others:
            case.logs.find("s", "user_other")
        with pytest.raises(NotFound) as nobodys:
            case.logs.find("t", ME)
        assert str(others.value) == str(nobodys.value)

    run(test)


def test_one_stream_is_bounded() -> None:
    """The oldest events go; who asks for them hears from where on the stream is there, and gets that."""

    async def test() -> None:
        case = Case(max_bytes=2000)
        source, log, task = case.start()
        slow = case.logs.read(log, 0)
        await case.say(source, log, "first")
        assert await anext(slow) == frames(1, "first")
        words = [f"w{number}" for number in range(500)]
        await case.say(source, log, *words)
        assert case.logs.size == log.size <= 2000
        with pytest.raises(NotFound) as told:
            log.check(0)
        assert told.value.code == "events_not_kept"
        with pytest.raises(NotFound):
            await anext(slow)
        source.give(None)
        await task
        kept = 1
        while f"up to {kept} " not in str(told.value):
            kept += 1
        assert await case.rest(log, kept) == frames(kept + 1, *words[kept - 1 :]) + DONE

    run(test)


def test_all_streams_are_bounded() -> None:
    """Streams that ended go first, the oldest of them before the others; then the largest of those under way
    forgets its beginning. Nothing else is ever held."""

    async def test() -> None:
        case = Case(max_total_bytes=3000)
        for name in ("old", "older"):
            source, log, task = case.start(name)
            await case.say(source, log, *(["x" * 50] * 10))
            source.give(None)
            await task
        await asyncio.sleep(0)
        live, log, _ = case.start("live")
        await case.say(live, log, *(["x" * 50] * 10))
        with pytest.raises(NotFound):
            case.logs.find("old", ME)
        case.logs.find("older", ME).check(0)
        other, other_log, _ = case.start("other")
        await case.say(other, other_log, *(["x" * 50] * 200))
        with pytest.raises(NotFound):
            case.logs.find("older", ME)
        log.check(0)
        with pytest.raises(NotFound):
            other_log.check(0)
        assert case.logs.size == log.size + other_log.size <= 3000

    run(test)


def test_a_streams_reader_pays_for_no_other_stream() -> None:
    """While other streams take all the room there is, one that is followed closely comes whole: the largest makes
    room."""

    async def test() -> None:
        case = Case(max_bytes=100_000, max_total_bytes=10_000)
        large, kept, _ = case.start("large")
        await case.say(large, kept, *["x" * 1000] * 20)
        small, log, task = case.start("small")
        await case.say(small, log, "y" * 100)
        reader = asyncio.create_task(case.rest(log))
        await case.say(large, kept, *["x" * 1000] * 20)
        words = ["z" * 100] * 10
        await case.say(small, log, *words)
        small.give(None)
        await task
        assert await reader == frames(1, "y" * 100, *words) + DONE
        assert await case.rest(log) == frames(1, "y" * 100, *words) + DONE
        assert case.logs.size <= 10_000
        large.give(None)
        await until(lambda: kept.ended)

    run(test)


def test_a_stream_is_forgotten_after_its_time() -> None:
    """It can't be found then, and takes no room; who reads it just then still gets all of it."""

    async def test() -> None:
        case = Case(keep_seconds=0.05)
        source, log, task = case.start()
        await case.say(source, log, "a")
        async with aclosing(case.logs.read(log, 0)) as reader:
            assert await anext(reader) == frames(1, "a")
            await case.say(source, log, "b")
            source.give(None)
            await task
            await until(lambda: log.expired)
            with pytest.raises(NotFound):
                case.logs.find("s", ME)
            assert await anext(reader) == frames(2, "b")
            assert await anext(reader) == DONE
        assert case.logs.size == 0

    run(test)


def test_a_shutdown_waits_and_then_ends_it() -> None:
    """A stream without a client counts as a request under way: waited for during the grace, ended after it."""

    async def test() -> None:
        case = Case()
        source, log, task = case.start()
        await case.say(source, log, "a")
        draining = asyncio.create_task(case.live.drain(10))
        source.give(Word("b"), None)
        assert await draining == 0
        assert await case.rest(log) == frames(1, "a", "b") + DONE
        source, log, task = case.start("t")
        await case.say(source, log, "a")
        assert await case.live.drain(0) == 1
        assert task.cancelled()
        assert source.closed
        with pytest.raises(Unavailable) as told:
            await case.rest(log)
        assert told.value.code == "shutting_down"

    run(test)
