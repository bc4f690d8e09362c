"""The run of one request on a model: reserves, counts and settles tokens, and passes events on by plain calls.

An engine's events go through ``Run`` to its sink: they are counted, noted for metrics and traces, and passed on.
Nothing on this way is awaited. Only the start of a run and its end are waited for.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec.structs import replace

from jan.engine.base import (
    ChatPrompt,
    Delta,
    Engine,
    Event,
    Failed,
    Finished,
    JobId,
    PromptNotes,
    Queued,
    Started,
)
from jan.engine.refusals import too_many_sequences
from jan.generation.collected import CollectedAnswers
from jan.generation.model_request import ModelRequest
from jan.generation.token_count import TokenCount
from jan.limits import Payer
from jan.limits.ledger import Entry
from jan.limits.windows import Standing
from jan.schema.scopes import Identity
from jan.services import Services
from jan.telemetry.request_record import GenerationRecord


class Sink(Protocol):
    """The destination of a run's events."""

    def take(self, index: int, events: Sequence[Event], at: float, last: bool) -> None:
        """Take events of the sequence at ``index``, delivered at ``at`` by ``perf_counter``.

        ``last`` means that no sequence has more events. An error raised here ends the run.
        """
        ...


class Lane:
    """The way of one sequence's events from the engine into its run.

    A single token of a sequence that has begun goes straight to the run's sink, unless the answer is collected.
    Only this object and ``SequenceProgress`` are touched for it, because an object that is not in the processor's
    caches costs more than the work.
    """

    __slots__ = ("_between_tokens", "_index", "_progress", "_run", "sink")

    def __init__(self, run: "Run", index: int) -> None:
        self._run = run
        self._index = index
        self._progress = run.count.sequences[index]
        self._between_tokens = run.record.between_tokens
        #: The destination of single tokens; None while they take the general way.
        self.sink: Sink | None = None

    def receive(self, events: list[Event], at: float) -> None:
        """Take a batch of events that the engine delivered."""
        sink, progress = self.sink, self._progress
        if sink is not None and len(events) == 1 and progress.first_at is not None:
            event = events[0]
            if isinstance(event, Delta):
                tokens = event.tokens
                if tokens:
                    progress.tokens += tokens
                    self._between_tokens.observe((at - progress.last_at) / tokens)
                    progress.last_at = at
                try:
                    sink.take(self._index, events, at, False)
                except Exception as error:  # noqa: BLE001 - raised by ``Run.ended``, to whoever waits for the run
                    self._run.fail(error)
                return
        self._run.receive(self._index, events, at)


class Run:
    """One request on an engine. Whoever starts it must close it in any case."""

    def __init__(
        self, engine: Engine, asked: ModelRequest, count: TokenCount, record: GenerationRecord, entry: Entry
    ) -> None:
        self.count = count
        self.record = record
        #: The state of the caller's token budgets, as far as they have been looked at.
        self.standings: tuple[Standing, ...] = ()
        #: What the engine left out of the request. All sequences have the same prompt options and output format.
        self.notes = PromptNotes()
        #: Called once when the run has ended, in any way.
        self.on_end: list[Callable[[Run], None]] = []
        self._engine = engine
        self._sequences = asked.sequences
        self._entry = entry
        self._jobs: list[JobId] = []
        self._lanes: list[Lane] = []
        self._open = len(asked.sequences)
        self._collected: CollectedAnswers | None = None
        self._sink: Sink | None = None
        # Events that arrive before there is a sink. Nothing is sent before every sequence is accepted.
        self._held: list[tuple[int, Sequence[Event], float]] = []
        # Notes for the record that wait until the request is granted. Of a refused one, only that it was accepted
        # by the engine is noted.
        self._unnoted: list[tuple[int, Event, int, Finished | None, float]] = []
        self._error: Exception | None = None
        self._failed = self._closed = False
        self._waiter: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Submit all sequences. Returns when the engine has accepted them and the budgets have room for all.

        Raises RateLimited, and the engine's refusals. The run is then closed.
        """
        try:
            known = self.count.known
            self.standings = await self._entry.reserve(known, known)
            limit = self._engine.max_sequences
            if limit is not None and self._open > limit:
                raise too_many_sequences(self._open, limit)
            for index, request in enumerate(self._sequences):
                lane = Lane(self, index)
                self._lanes.append(lane)
                self._jobs.append(await self._engine.submit(request, lane.receive))
            await self._until(lambda: self.count.all_started)
            self.notes = self._first_notes()
            self.standings = await self._entry.reserve(*self.count.bounds)
            self._grant()
        except BaseException:
            await self.close()
            raise

    def _first_notes(self) -> PromptNotes:
        """Return what the engine said when it accepted the first sequence."""
        started = (event for _, events, _ in self._held for event in events if isinstance(event, Started))
        return next((event.notes for event in started), PromptNotes())

    def _grant(self) -> None:
        self.count.granted = True
        for note in self._unnoted:
            self.record.note(*note)
        self._unnoted.clear()

    def withdraw(self) -> None:
        """Refuse the request after all: it uses no tokens, and has no end that others see."""
        self.count.granted = False
        self.on_end.clear()

    def collect(self) -> CollectedAnswers:
        """Return answers that grow as events arrive. Call it before ``attach``."""
        if self._collected is None:
            self._collected = CollectedAnswers(len(self._sequences))
        return self._collected

    def attach(self, sink: Sink) -> None:
        """Pass the events on to a sink, from the first one."""
        held, self._held = self._held, []
        if len(self._sequences) == 1 and len(held) > 1:
            held = [(0, [event for _, events, _ in held for event in events], held[-1][2])]
        self._sink = sink
        if self._collected is None:
            for lane in self._lanes:
                lane.sink = sink
        for number, (index, events, at) in enumerate(held, 1):
            self._pass_on(sink, index, events, at, last=not self._open and number == len(held))

    async def ended(self) -> None:
        """Wait until all sequences have ended. Raises the JanError that ended one early, or the sink's error."""
        await self._until(lambda: not self._open and self._error is None)

    async def close(self) -> None:
        """Cancel the remaining work and settle the budgets. May be called again."""
        if self._closed:
            return
        self._closed = True
        # Break the reference cycle: the engine refers to this run while a job is running, and the run to the sink
        # and to the error.
        self._sink, self._held, self._error = None, [], None
        for lane in self._lanes:
            lane.sink = None
        self._lanes.clear()
        for job_id in self._jobs:
            self._engine.cancel(job_id)
        try:
            await self._entry.settle(self.count.used)
        finally:  # also if a second cancellation cuts the wait short
            for tell in self.on_end:
                tell(self)

    # --- on the way of every token ------------------------------------------------------------------

    def receive(self, index: int, events: list[Event], at: float) -> None:
        """Take a batch of events that the engine delivered for the sequence at ``index``."""
        end, sink = events[-1], self._sink
        finished = end if isinstance(end, Finished) else None
        note = (index, events[0], self.count.add(index, events), finished, at)
        if self.count.granted:
            self.record.note(*note)
        else:
            self.record.note(index, events[0], 0, None, at)
            self._unnoted.append(note)
        passed: Sequence[Event] = events
        if finished is not None:
            self._open -= 1
        elif isinstance(end, Failed):
            self._note_error(end.error())
            passed = events[:-1]
        if index:
            # The client sees only the first sequence's place in the queue.
            passed = [event for event in passed if not isinstance(event, Queued)]
        if sink is None:
            if passed:
                self._held.append((index, passed, at))
            self._wake()
            return
        try:
            if passed:
                self._pass_on(sink, index, passed, at, last=not self._open)
        except Exception as error:  # noqa: BLE001 - raised by ``ended``, to whoever waits for the run
            self._note_error(error)
        if not self._open or self._failed:
            self._wake()

    def _pass_on(self, sink: Sink, index: int, events: Sequence[Event], at: float, *, last: bool) -> None:
        if self._collected is not None:
            self._collected.add(index, events)
        sink.take(index, events, at, last)

    # --- waiting ------------------------------------------------------------------------------------

    def fail(self, error: Exception) -> None:
        """End the run with an error, which ``ended`` raises."""
        self._note_error(error)
        self._wake()

    def _note_error(self, error: Exception) -> None:
        if not self._failed:
            self._failed, self._error = True, error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _until(self, reached: Callable[[], bool]) -> None:
        """Wait for a condition. Raises the error that ended the run before it."""
        while not reached():
            if self._error is not None:
                error, self._error = self._error, None
                try:
                    raise error
                finally:
                    del error  # break the reference cycle: the exception holds this frame
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter


async def open_run(services: Services, identity: Identity, asked: ModelRequest, began: float) -> Run:
    """Make a run for a request that arrived at ``began`` by ``perf_counter``. It is not started yet.

    Raises NotFound for an unknown model, and Unavailable for one that can't be loaded.
    """
    engine = await services.models.engine(asked.model)
    name = services.models.get(asked.model).id
    limits = [request.max_tokens for request in asked.sequences]
    count = TokenCount(limits, asked.choices, engine.info.context_length)
    record = GenerationRecord(
        asked_for=asked.model,
        model=name,
        is_chat=isinstance(asked.sequences[0].prompt, ChatPrompt),
        metrics=services.metrics.of_model(name),
        began=began,
        count=count,
    )
    return Run(
        engine, owned(asked, identity), count, record, services.ledger.open(Payer(identity=identity, model=name))
    )


def owned(asked: ModelRequest, identity: Identity) -> ModelRequest:
    """Return the request as its caller's, whoever made it: an endpoint or a hook could forget that."""
    owned = (replace(one, owner=identity.owner, anonymous=identity.anonymous) for one in asked.sequences)
    return replace(asked, sequences=tuple(owned))
