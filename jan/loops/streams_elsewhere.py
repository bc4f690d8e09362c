"""Kept streams that a client resumes at another web loop than the one that keeps them."""

import asyncio
import itertools
from collections.abc import AsyncGenerator
from contextlib import suppress

from jan.errors import NotFound, Unavailable
from jan.http.resumable import StreamLogs
from jan.loops.link import Answer, Link
from jan.loops.questions import (
    CLOSE_STREAM,
    FORGET_STREAMS,
    NEXT_PIECE,
    OPEN_STREAM,
    Forgotten,
    KeptStream,
    Nothing,
    StreamPiece,
)
from jan.tasks import Tasks

# A reader that asks for nothing for so long has gone: its client left, or its loop ended.
_GONE_SECONDS = 90.0


class OtherLoops:
    """Streams that other loops keep; implements ``http.resumable.Elsewhere``, by asking the supervisor."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def follow(self, stream_id: str, owner: str, number: int) -> AsyncGenerator[bytes, None]:
        """Yield the frames of an owner's stream after an event. Raises NotFound before the first one if no loop
        keeps it."""
        reader = await self._link.ask(OPEN_STREAM, KeptStream(stream_id=stream_id, owner=owner, number=number))
        last = False
        try:
            yield b""
            while not last:
                piece = await self._link.ask(NEXT_PIECE, reader)
                yield piece.frames
                last = piece.last
        finally:
            if not last:
                self._link.tell(CLOSE_STREAM, reader)

    def forget(self, *, conversation_id: str = "", owner: str = "") -> None:
        """Let all other loops forget the streams of a conversation, or of an owner."""
        self._link.tell(FORGET_STREAMS, Forgotten(conversation_id=conversation_id, owner=owner))


class Readers:
    """The readers of this loop's streams, for clients of other loops."""

    def __init__(self, streams: StreamLogs) -> None:
        self._streams = streams
        self._numbers = itertools.count(1)
        self._open: dict[int, tuple[AsyncGenerator[bytes, None], asyncio.TimerHandle]] = {}
        self._tasks = Tasks()

    def answers(self) -> tuple[Answer, ...]:
        """Return what this loop answers about its streams."""
        return (
            OPEN_STREAM.answered_by(self._begin),
            NEXT_PIECE.answered_by(self._next),
            CLOSE_STREAM.answered_by(self._close),
            FORGET_STREAMS.answered_by(self._forget),
        )

    async def _begin(self, asked: KeptStream) -> int:
        kept = self._streams.find(asked.stream_id, asked.owner)
        kept.check(asked.number)
        number = next(self._numbers)
        self._keep(number, self._streams.read(kept, asked.number))
        return number

    def _keep(self, number: int, frames: AsyncGenerator[bytes, None]) -> None:
        loop = asyncio.get_running_loop()
        self._open[number] = frames, loop.call_later(_GONE_SECONDS, self._drop, number)

    def _drop(self, number: int) -> None:
        frames, _ = self._open.pop(number)
        self._tasks.start(frames.aclose())

    async def _next(self, number: int) -> StreamPiece:
        if number not in self._open:
            raise _gone()
        frames, timer = self._open.pop(number)
        timer.cancel()
        with suppress(StopAsyncIteration):
            piece = StreamPiece(frames=await anext(frames))
            self._keep(number, frames)
            return piece
        return StreamPiece(frames=b"", last=True)

    async def _close(self, number: int) -> Nothing:
        if number in self._open:
            frames, timer = self._open.pop(number)
            timer.cancel()
            await frames.aclose()
        return Nothing()

    async def _forget(self, asked: Forgotten) -> Nothing:
        self._streams.forget_own(conversation_id=asked.conversation_id, owner=asked.owner)
        return Nothing()


class StreamRelay:
    """The supervisor's part: it asks the loops which one keeps a stream, and passes the pieces on."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        #: By number: the loop that keeps the stream, its number for the reader, and the loop that asked.
        self._readers: dict[int, tuple[Link, int, Link]] = {}

    async def open(self, asker: Link, others: list[Link], asked: KeptStream) -> int:
        """Return the number of a reader of this stream. Raises NotFound if none of the others keeps it."""
        missing = _gone()
        for link in others:
            try:
                reader = await link.ask(OPEN_STREAM, asked)
            except NotFound as error:
                if error.code != missing.code:
                    raise
                missing = error
            except Unavailable:  # it has ended a moment ago
                continue
            else:
                number = next(self._numbers)
                self._readers[number] = link, reader, asker
                return number
        raise missing

    async def next(self, number: int) -> StreamPiece:
        """Return the next piece for a reader. Raises NotFound if the loop that kept the stream has ended."""
        if number not in self._readers:
            raise _gone()
        link, reader, _ = self._readers[number]
        piece = None
        try:
            piece = await link.ask(NEXT_PIECE, reader)
        except Unavailable:
            if link.lost:
                raise _gone() from None
            raise
        finally:
            if piece is None or piece.last:
                self._readers.pop(number, None)
        return piece

    def close(self, number: int) -> None:
        """End a reader whose client has left."""
        if number in self._readers:
            link, reader, _ = self._readers.pop(number)
            link.tell(CLOSE_STREAM, reader)

    def drop(self, lost: Link) -> None:
        """End the readers of a loop that has ended, and those of its streams."""
        for number, (link, _, asker) in list(self._readers.items()):
            if lost in (link, asker):
                self.close(number)


def _gone() -> NotFound:
    return NotFound("The process that kept this stream has ended.", code="stream_not_kept")
