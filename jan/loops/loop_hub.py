"""The parts that the web loops share through their supervisor: counters of limits, metrics, kept streams."""

import asyncio

from jan.engine.isolation.engine_messages import EngineAddress
from jan.errors import JanError
from jan.limits.memory import MemoryCounters
from jan.loops.link import Link
from jan.loops.owned_engines import OwnedEngines
from jan.loops.questions import (
    ALL_METRICS,
    CLOSE_STREAM,
    FORGET_STREAMS,
    LOADING,
    LOCATE,
    METRICS,
    NEXT_PIECE,
    OPEN_STREAM,
    Family,
    Forgotten,
    KeptStream,
    LoadingModel,
    Nothing,
    StreamPiece,
)
from jan.loops.shared_counters import counting
from jan.loops.streams_elsewhere import StreamRelay

# A loop that does not answer for so long is left out of a page of metrics.
_PATIENCE_SECONDS = 2.0


class Hub:
    """Answers the questions of all loops. A loop joins with its link, and leaves when it has ended."""

    def __init__(self, engines: OwnedEngines) -> None:
        self._engines = engines
        self._links: list[Link] = []
        self._counters = MemoryCounters()
        self._relay = StreamRelay()

    def join(self, link: Link) -> None:
        """Answer a loop from now on."""
        self._links.append(link)

        async def all_metrics(_asked: Nothing) -> list[list[Family]]:
            return await self._all_metrics()

        async def locate(model: str) -> EngineAddress:
            return await self._engines.address(model, self.show_part)

        async def open_stream(asked: KeptStream) -> int:
            return await self._relay.open(link, self._others(link), asked)

        async def next_piece(number: int) -> StreamPiece:
            return await self._relay.next(number)

        async def close_stream(number: int) -> Nothing:
            self._relay.close(number)
            return Nothing()

        async def forget(asked: Forgotten) -> Nothing:
            for other in self._others(link):
                other.tell(FORGET_STREAMS, asked)
            return Nothing()

        link.answer(
            *counting(self._counters),
            LOCATE.answered_by(locate),
            ALL_METRICS.answered_by(all_metrics),
            OPEN_STREAM.answered_by(open_stream),
            NEXT_PIECE.answered_by(next_piece),
            CLOSE_STREAM.answered_by(close_stream),
            FORGET_STREAMS.answered_by(forget),
        )

    def show_part(self, model: str, part: float) -> None:
        """Tell all loops how much of a model is loaded."""
        for link in self._links:
            link.tell(LOADING, LoadingModel(model=model, part=part))

    def leave(self, link: Link) -> None:
        """Forget a loop that has ended, and what it had open."""
        if link in self._links:
            self._links.remove(link)
        self._relay.drop(link)

    def _others(self, link: Link) -> list[Link]:
        return [other for other in self._links if other is not link]

    async def _all_metrics(self) -> list[list[Family]]:
        asked = (self._metrics_of(link) for link in list(self._links))
        return [families for families in await asyncio.gather(*asked) if families]

    async def _metrics_of(self, link: Link) -> list[Family]:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await link.ask(METRICS, Nothing())
        except (JanError, TimeoutError):
            return []
