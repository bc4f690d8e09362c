"""Leads a started run to its end: streamed, whole, stored, or without its client. All use one path."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from jan.engine.base import Event
from jan.errors import InvalidRequest, JanError
from jan.generation.collected import CollectedAnswers
from jan.generation.model_request import ModelRequest
from jan.generation.pipeline import Run, Sink
from jan.generation.sinks import FrameOutlet, FrameSink, Translator
from jan.generation.token_count import TokenCount
from jan.http.outlet import Outlet, until_taken
from jan.http.sse import EventStream, Frames

#: Makes the sink of a stream: of its translator, its frames, and their destination.
MakeSink = Callable[[Translator, Frames, FrameOutlet], FrameSink]


class Keeper(Protocol):
    """Keeps the messages and the answer of a request. See ``handlers.openai.chat.conversation``."""

    async def instead(self, error: InvalidRequest) -> ModelRequest | None:
        """Return the request to try after a refusal, with less of what precedes it; None if the refusal stands.
        Nothing has been kept yet."""
        ...

    async def begin(self, answers: CollectedAnswers) -> None:
        """Keep the messages, and begin to keep ``answers``, which grow from now on.

        Called once the engine has accepted the request and the budgets have room for it. Nothing is sent before
        this returns. An error that it raises refuses the request, which then uses no tokens.
        """
        ...

    async def failed(self, error: JanError) -> None:
        """Keep the partial answer, and add information to the error that ends the request after ``begin``."""
        ...

    async def finish(self, count: TokenCount) -> None:
        """Keep the complete answer. Its end is not sent before this returns."""
        ...

    def leave(self) -> None:
        """Keep the partial answer, unless it was finished. No more events will come."""
        ...


class Nowhere:
    """A sink that drops events, for a run whose answers are only collected."""

    def take(self, index: int, events: Sequence[Event], at: float, last: bool) -> None:
        """Drop the events of a sequence."""


async def lead(run: Run, sink: Sink, keeper: Keeper | None) -> None:
    """Pass a started run's events to a sink and wait for its end. The run is closed in any case.

    Raises the error that ended the run early and, with a ``keeper``, the store's refusal of the answer.
    """
    try:
        if keeper is None:
            run.attach(sink)
            await run.ended()
        else:
            await _begin(run, keeper)
            await _kept(run, sink, keeper)
    finally:
        if keeper is not None:
            keeper.leave()
        await run.close()


async def _begin(run: Run, keeper: Keeper) -> None:
    try:
        await keeper.begin(run.collect())
    except JanError:
        run.withdraw()
        raise


async def _kept(run: Run, sink: Sink, keeper: Keeper) -> None:
    try:
        run.attach(sink)
        await run.ended()
        await keeper.finish(run.count)
    except JanError as error:
        await keeper.failed(error)
        raise


async def _led(run: Run, sink: FrameSink, keeper: Keeper | None) -> None:
    """Lead a run to its end, and send everything but the end. Raises the error that ended it early."""
    try:
        await lead(run, sink, keeper)
        await sink.settle()
    except JanError:
        sink.flush()
        raise
    finally:
        await sink.close()


async def whole_answer(run: Run, translator: Translator, keeper: Keeper | None) -> msgspec.Struct:
    """Wait for a run's end and return its answer."""
    answers = run.collect()
    await lead(run, Nowhere(), keeper)
    return translator.whole(answers, run.count)


class GeneratedStream(EventStream):
    """The answer of a started run, as frames of an API."""

    def __init__(
        self, run: Run, translator: Translator, keeper: Keeper | None, make_sink: MakeSink = FrameSink
    ) -> None:
        self.frames = translator.frames()
        self._make_sink = make_sink
        self._run = run
        self._translator = translator
        self._keeper = keeper

    async def send(self, outlet: Outlet) -> None:
        """Send the frames until the run ends; see ``EventStream.send``."""
        sink = self._make_sink(self._translator, self.frames, outlet)
        await _led(self._run, sink, self._keeper)
        await until_taken(sink.finish(self._run.count))


async def detached_answer(
    start: Callable[[], Awaitable[Run]],
    translator: Translator,
    keeper: Keeper | None,
    outlet: FrameOutlet,
    *,
    whole: bool,
    make_sink: MakeSink = FrameSink,
) -> msgspec.Struct | None:
    """Start a run and lead it to its end, whoever reads ``outlet``. With ``whole``, return the whole answer."""
    run = await start()
    answers = run.collect() if whole else None
    sink = make_sink(translator, translator.frames(), outlet)
    await _led(run, sink, keeper)
    sink.finish(run.count)
    return None if answers is None else translator.whole(answers, run.count)
