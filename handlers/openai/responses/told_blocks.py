"""The blocks of a response that is made in the background, as HTML.

Its events are made of the stored message and have fixed numbers. Blocks have none of their own: each has the
number of the event before it, and a stream that is resumed sends all of them again.
"""

import asyncio
from collections.abc import Sequence

from jan.handler import GrowingBlocks, NewBlock, Renderer
from jan.schema.response_events import OutputItemDropped, OutputTextDelta, ResponseBlock, ResponseEvent


class ToldBlocks:
    """The blocks of all texts of one response."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._texts: dict[str, tuple[int, GrowingBlocks]] = {}
        self._number = 0
        self._next_at = 0.0

    async def after(self, events: Sequence[ResponseEvent]) -> list[ResponseEvent]:
        """Return the blocks that are finished by new events, unless the texts were just read."""
        for event in events:
            self._add(event)
        due = [(own, *text) for own, text in self._texts.items() if text[1].due]
        loop = asyncio.get_running_loop()
        if not due or loop.time() < self._next_at:
            return []
        made: list[ResponseEvent] = [
            self._shown(own, at, block) for own, at, text in due for block in await text.read()
        ]
        self._next_at = loop.time() + max(text.pause for _, _, text in due)
        return made

    def _add(self, event: ResponseEvent) -> None:
        self._number = event.sequence_number
        if isinstance(event, OutputTextDelta):
            if event.item_id not in self._texts:
                self._texts[event.item_id] = event.output_index, GrowingBlocks(self._renderer)
            self._texts[event.item_id][1].add(event.delta)
        elif isinstance(event, OutputItemDropped):
            self._texts.pop(event.item_id, None)

    async def rest(self) -> list[ResponseEvent]:
        """Return the blocks that are missing or different, once the response has ended."""
        texts = self._texts.items()
        return [self._shown(own, at, block) for own, (at, text) in texts for block in await text.finish()]

    def _shown(self, own: str, at: int, block: NewBlock) -> ResponseBlock:
        return ResponseBlock(
            item_id=own,
            output_index=at,
            index=block.index,
            html=block.html,
            end=block.end,
            sequence_number=self._number,
        )
