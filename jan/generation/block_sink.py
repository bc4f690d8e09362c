"""A sink of frames that also sends the blocks of the answer's text as HTML, made off the event loop."""

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import Any, Protocol

import structlog
from tornado.iostream import StreamClosedError

from jan.engine.base import Delta, Event
from jan.generation.growing_blocks import GrowingBlocks, NewBlock
from jan.generation.sinks import FrameOutlet, FrameSink, Translator
from jan.http.sse import Frames
from jan.rendering.renderer import Renderer
from jan.tasks import end

log = structlog.get_logger(__name__)


class BlockForm(Protocol):
    """The form of blocks in an API."""

    #: True if reasoning or a call ends a text, so that the text behind it is another one.
    parts_text: bool

    def block(self, index: int, part: int, block: NewBlock) -> Any:
        """Make the event of a block of the sequence at ``index``, in the text with this number."""
        ...


class _Text:
    """A text of a sequence, with its number among the sequence's texts."""

    __slots__ = ("blocks", "index", "number")

    def __init__(self, index: int, number: int, renderer: Renderer) -> None:
        self.index = index
        self.number = number
        self.blocks = GrowingBlocks(renderer)


class BlockSink(FrameSink):
    """Sends events as frames, and blocks of their texts behind the texts that they are made of."""

    __slots__ = ("_apart", "_calls", "_ended", "_form_of_blocks", "_renderer", "_task", "_texts")

    def __init__(
        self, translator: Translator, frames: Frames, outlet: FrameOutlet, form: BlockForm, renderer: Renderer
    ) -> None:
        super().__init__(translator, frames, outlet)
        self._form_of_blocks = form
        self._renderer = renderer
        # The texts of each sequence, and the sequences whose last text has ended.
        self._texts: dict[int, list[_Text]] = {}
        self._ended: set[int] = set()
        self._calls: dict[int, int] = {}
        self._task: asyncio.Task[None] | None = None
        # Blocks that have to be sent, behind what waits for the client.
        self._apart: list[tuple[_Text, NewBlock]] = []

    def take(self, index: int, events: Sequence[Event], at: float, last: bool) -> None:
        """Send the events, and read their text."""
        super().take(index, events, at, last)
        due = False
        for event in events:
            if isinstance(event, Delta):
                for part in event.parts or (event,):
                    due |= self._note(index, part)
        if due and self._task is None and not last:
            self._task = asyncio.create_task(self._read())

    def _note(self, index: int, part: Delta) -> bool:
        """Add the text of a step; returns True if it may have finished a block."""
        ended, begun = part.calls_from(self._calls.get(index, -1))
        if self._form_of_blocks.parts_text and (part.reasoning or ended):
            self._ended.add(index)
        due = False
        if part.text:
            texts = self._texts.setdefault(index, [])
            if not texts or index in self._ended:
                self._ended.discard(index)
                texts.append(_Text(index, len(texts), self._renderer))
            texts[-1].blocks.add(part.text)
            due = texts[-1].blocks.due
        if begun:
            self._calls[index] = begun[-1].index
            if self._form_of_blocks.parts_text:
                self._ended.add(index)
        return due

    async def _read(self) -> None:
        """Read the texts as long as they grow, and then pause."""
        try:
            while due := [one for texts in self._texts.values() for one in texts if one.blocks.due]:
                for one in due:
                    self._send(one, await one.blocks.read())
                await asyncio.sleep(max(one.blocks.pause for one in due))
        except StreamClosedError:
            pass  # the client has disconnected, which its handler notices
        except Exception:
            log.exception("blocks are missing in a stream")
        finally:
            # Break the reference cycle: the task holds this object.
            self._task = None

    def _send(self, text: _Text, blocks: list[NewBlock]) -> None:
        """Send blocks behind everything that waits for the client."""
        self._apart += [(text, block) for block in blocks]
        # Text that came with the end waits too.
        if self._apart and not (self._behind or self._rest):
            self._wait_for(self._outlet.send(self._encoded(), perf_counter()))

    def _left(self) -> list[bytes]:
        return super()._left() + self._encoded()

    def _encoded(self) -> list[bytes]:
        """Encode the blocks that wait. Only now have their texts been translated."""
        apart, self._apart = self._apart, []
        made = (self._form_of_blocks.block(text.index, text.number, block) for text, block in apart)
        return [self._frames.block(event) for event in made]

    async def settle(self) -> None:
        """Send the blocks that are missing, before the end of the stream."""
        await self.close()
        self.flush()
        for texts in list(self._texts.values()):
            for text in texts:
                self._send(text, await text.blocks.finish())

    async def close(self) -> None:
        """Stop reading the texts, before they end too."""
        await end(self._task)
