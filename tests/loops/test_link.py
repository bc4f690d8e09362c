"""The link between two processes of a server, over a pair of sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

import msgspec
import pytest

from jan.errors import ConfigurationError, InternalError, InvalidRequest, JanError, NotFound, Unavailable
from jan.loops.link import Link, Question

DOUBLE = Question("double", int, int)
REFUSE = Question("refuse", str, str)


class Large(msgspec.Struct):
    data: bytes


LARGE = Question("large", Large, Large)


def on_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on an event loop, for 30 seconds at most."""

    @wraps(test)
    def run(**arguments: Any) -> None:
        asyncio.run(asyncio.wait_for(test(**arguments), 30))

    return run


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Link, Link, list[str]]]:
    """Both ends of a link, and the names of those that noticed its loss."""
    lost: list[str] = []
    one, other = socket.socketpair()
    first = Link(one, lambda: lost.append("first"))
    second = Link(other, lambda: lost.append("second"))
    try:
        yield first, second, lost
    finally:
        await first.close()
        await second.close()


async def double(number: int) -> int:
    return 2 * number


@on_loop
async def test_both_ends_ask_at_the_same_time() -> None:
    """Replies find their questions, in whatever order they come."""

    async def slowly(number: int) -> int:
        await asyncio.sleep(0.001 * (5 - number % 5))
        return 2 * number

    async with linked() as (first, second, _):
        first.answer(DOUBLE.answered_by(double))
        second.answer(DOUBLE.answered_by(slowly))
        there = [first.ask(DOUBLE, number) for number in range(50)]
        back = [second.ask(DOUBLE, number) for number in range(50)]
        assert await asyncio.gather(*there, *back) == [2 * number for number in range(50)] * 2


@on_loop
async def test_frames_larger_than_the_socket_takes() -> None:
    """A frame that comes in many pieces is whole in the end."""

    async def same(asked: Large) -> Large:
        return asked

    async with linked() as (first, second, _):
        second.answer(LARGE.answered_by(same))
        data = bytes(range(256)) * 20_000
        answers = await asyncio.gather(*(first.ask(LARGE, Large(data)) for _ in range(3)))
        assert [answer.data == data for answer in answers] == [True] * 3


@pytest.mark.parametrize(
    "error",
    [
        NotFound("gone", code="x_y", param="p"),
        InvalidRequest("wrong", code="wrong"),
        ConfigurationError("A line for each.\nMistake."),
    ],
)
@on_loop
async def test_refusals_come_as_they_were(error: JanError) -> None:
    """The kind, the words, the code and the parameter of an error are those of the process that refused."""

    async def refuse(_asked: str) -> str:
        raise error

    async with linked() as (first, second, _):
        second.answer(REFUSE.answered_by(refuse))
        with pytest.raises(type(error)) as raised:
            await first.ask(REFUSE, "please")
        assert (raised.value.message, raised.value.code, raised.value.param) == (
            error.message,
            error.code,
            error.param,
        )


@on_loop
async def test_a_fault_of_one_end_is_an_error_at_the_other() -> None:
    """What fails by mistake says nothing of its insides, and the link goes on."""

    async def fail(_asked: str) -> str:
        raise RuntimeError("the secret inside")

    async with linked() as (first, second, _):
        second.answer(REFUSE.answered_by(fail), DOUBLE.answered_by(double))
        with pytest.raises(InternalError) as raised:
            await first.ask(REFUSE, "please")
        assert "secret" not in raised.value.message
        assert await first.ask(DOUBLE, 4) == 8


@on_loop
async def test_a_question_that_nobody_knows_yet() -> None:
    """An end that has no answer yet says so."""
    async with linked() as (first, _, _):
        with pytest.raises(Unavailable, match="still starting"):
            await first.ask(DOUBLE, 1)


@pytest.mark.parametrize("cut", ["close", "abort"])
@on_loop
async def test_the_end_of_one_process_fails_what_was_asked(cut: str) -> None:
    """Whoever waits for an answer gets an error at once, and so does whoever asks later."""
    asked = asyncio.Event()

    async def never(_number: int) -> int:
        asked.set()
        await asyncio.Event().wait()
        return 0

    async with linked() as (first, second, lost):
        second.answer(DOUBLE.answered_by(never))
        waiting = asyncio.create_task(first.ask(DOUBLE, 1))
        await asked.wait()
        ways: dict[str, Callable[[], Awaitable[None] | None]] = {
            "close": second.close,
            "abort": second._channel.close,
        }
        if (closing := ways[cut]()) is not None:
            await closing
        with pytest.raises(Unavailable):
            await waiting
        with pytest.raises(Unavailable):
            await first.ask(DOUBLE, 2)
        first.tell(DOUBLE, 3)
        assert "first" in lost
