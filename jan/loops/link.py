"""A link between the supervisor and a web loop: each may ask the other, over a pair of connected sockets.

Nobody else can reach the sockets, because they have no name: the loop inherits its end when it is started. If one
process ends, the other learns it at once, whatever ended it.
"""

import asyncio
import itertools
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import msgspec
import structlog

from jan.children.framing import framed
from jan.engine.base import Failed
from jan.engine.isolation.frame_channel import FrameChannel
from jan.errors import InternalError, JanError, Unavailable
from jan.tasks import Tasks

log = structlog.get_logger(__name__)

A = TypeVar("A")
R = TypeVar("R")

_CLOSE_SECONDS = 1.0


class Question(Generic[A, R]):
    """One thing that can be asked: its name on the wire, and the types of what is sent and of what comes back."""

    def __init__(self, name: str, asked: type[A], answered: type[R]) -> None:
        self.name, self.asked, self.answered = name, asked, answered

    def answered_by(self, answer: Callable[[A], Awaitable[R]]) -> "Answer":
        """Return the pair of this question and what answers it."""
        return self, answer


#: A question and what answers it.
Answer = tuple[Question[Any, Any], Callable[[Any], Awaitable[Any]]]


class _Frame(msgspec.Struct, frozen=True, array_like=True):
    """A question, or the reply to one, which has the number of its question. ``name`` is empty in a reply."""

    number: int
    name: str
    body: msgspec.Raw
    failure: Failed | None = None


class Link:
    """One end of a link.

    ``end``: one of two connected sockets, which it closes. ``on_lost``: called once when the other process has
    closed its end, or has ended.
    """

    def __init__(self, end: socket.socket, on_lost: Callable[[], None]) -> None:
        self._answers: dict[str, Answer] = {}
        self._on_lost = on_lost
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[_Frame]] = {}
        self._encoder, self._decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(_Frame)
        self._unsent = bytearray()
        self._tasks = Tasks()
        self.lost = False
        end.setblocking(False)
        number = end.detach()
        self._channel = FrameChannel(number, number, self._take, self._has_lost)

    def answer(self, *answers: Answer) -> None:
        """Answer these questions from now on."""
        self._answers |= {question.name: (question, answer) for question, answer in answers}

    async def ask(self, question: Question[A, R], asked: A) -> R:
        """Ask, and wait for the answer. Raises its JanError; Unavailable if the link is lost."""
        if self.lost:
            raise _lost()
        number = next(self._numbers)
        reply = self._asked[number] = asyncio.get_running_loop().create_future()
        self._send(_Frame(number, question.name, self._packed(asked)))
        try:
            frame = await reply
        finally:
            self._asked.pop(number, None)
        if frame.failure is not None:
            raise frame.failure.error()
        return msgspec.msgpack.decode(frame.body, type=question.answered)

    def tell(self, question: Question[A, Any], asked: A) -> None:
        """Ask without waiting for an answer. Nothing happens if the link is lost."""
        if not self.lost:
            self._send(_Frame(0, question.name, self._packed(asked)))

    def _packed(self, value: Any) -> msgspec.Raw:
        return msgspec.Raw(self._encoder.encode(value))

    def _send(self, frame: _Frame) -> None:
        """Send with the other frames of this turn of the loop, in one call to the system."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent += framed(self._encoder.encode(frame))

    def _flush(self) -> None:
        self._channel.send_framed(self._unsent)
        self._unsent = bytearray()

    async def close(self) -> None:
        """Close this end, once what was told is sent. Questions that are being answered are cut short."""
        if not self.lost:
            self.lost = True
            if self._unsent:
                self._flush()
            await self._channel.flush(_CLOSE_SECONDS)
            self._channel.close()
            self._fail()
        await self._tasks.close(0.0)

    def _take(self, frames: list[bytes]) -> None:
        for packed in frames:
            frame = self._decoder.decode(packed)
            if frame.name:
                self._tasks.start(self._reply(frame))
                continue
            reply = self._asked.get(frame.number)
            if reply is not None and not reply.done():
                reply.set_result(frame)

    async def _reply(self, frame: _Frame) -> None:
        failure, result = None, None
        try:
            if frame.name not in self._answers:
                raise Unavailable("This process of the server is still starting.", code="unavailable")
            question, answer = self._answers[frame.name]
            result = await answer(msgspec.msgpack.decode(frame.body, type=question.asked))
        except JanError as error:
            failure = Failed.of(error)
        except Exception:
            log.exception("question of another process failed", question=frame.name)
            failure = Failed.of(InternalError("Another process of the server failed. Its log says why."))
        if frame.number and not self.lost:
            self._send(_Frame(frame.number, "", self._packed(result), failure))

    def _has_lost(self) -> None:
        """Fail what was asked, and say that the other process is gone."""
        self.lost = True
        self._fail()
        self._on_lost()

    def _fail(self) -> None:
        for reply in self._asked.values():
            if not reply.done():
                reply.set_exception(_lost())


def _lost() -> Unavailable:
    return Unavailable("Another process of the server has ended. Try again later.", code="shutting_down")
