"""Turns a request to a model into its answer, in the form of the API that it used."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import msgspec

from jan.auth.running import Permit
from jan.engine.base import PreparedRequest, PromptNotes, TokenizedText, TokenReader
from jan.engine.refusals import shows_no_tokens
from jan.errors import InvalidRequest
from jan.generation.block_sink import BlockForm, BlockSink
from jan.generation.delivery import GeneratedStream, Keeper, MakeSink, detached_answer, whole_answer
from jan.generation.hooks import HookContext
from jan.generation.model_request import ModelRequest
from jan.generation.pipeline import Run, open_run, owned
from jan.generation.sinks import FrameSink, Translator
from jan.http.sse import EventStream, Replay
from jan.limits import Payer
from jan.limits.windows import Standing
from jan.services import Services
from jan.telemetry.request_record import GenerationRecord

#: Reads the history of a request, and stores nothing. Returns the request with it, and the request's keeper.
Keep = Callable[[ModelRequest], Awaitable[tuple[ModelRequest, Keeper]]]

#: Returns the request to try after a refusal; None if the refusal stands.
Instead = Callable[[InvalidRequest], Awaitable[ModelRequest | None]]
T = TypeVar("T")


class Answering:
    """The use of models by one HTTP request. ``context`` tells hooks where it comes from, ``permit`` is what it
    rests on, ``began`` is its arrival by ``perf_counter``."""

    def __init__(self, services: Services, context: HookContext, permit: Permit, began: float) -> None:
        self._services = services
        self._permit = permit
        self._context = context
        self._began = began
        # True while ``generate`` is called with a request that the hooks have seen.
        self._shown = False
        #: The record of the latest run, for log, metrics and trace.
        self.record: GenerationRecord | None = None
        #: The state of the caller's token budgets, as far as a run has looked at them.
        self.standings: tuple[Standing, ...] = ()
        #: What the engine left out of the latest run's request, known once the engine has accepted it.
        self.notes = PromptNotes()
        #: The task that completes the answer, if the answer outlives the request.
        self.detached_task: asyncio.Task[Any] | None = None

    async def generate(self, asked: ModelRequest) -> Run:
        """Start a run, which the caller must close.

        Raises NotFound for an unknown model, RateLimited if a token budget is used up, and the engine's refusals.
        """
        hooks = self._services.hooks
        if not self._shown:
            asked = await self._show(asked)
        run = await open_run(self._services, self._context.identity, asked, self._began)
        self.record = run.record
        try:
            await run.start()
        finally:
            self.standings, self.notes = run.standings, run.notes
        if hooks.want_answers:
            run.on_end.append(partial(hooks.after, self._context, run.collect()))
        return run

    async def count_prompt(self, asked: ModelRequest) -> int:
        """Return the tokens of a request's prompt, as a run would count them. Nothing is queued.

        Raises NotFound for an unknown model, and the engine's refusals.
        """
        return (await self._prepare(await self._show(asked))).prompt_tokens

    async def _prepare(self, asked: ModelRequest) -> PreparedRequest:
        engine = await self._services.models.engine(asked.model)
        prepared = await engine.prepare(owned(asked, self._context.identity).sequences[0])
        engine.cancel(prepared.job_id)
        self.notes = prepared.notes
        return prepared

    async def check(self, asked: ModelRequest, instead: Instead) -> None:
        """Check that a run of this request could begin now. Nothing is queued, and no tokens stay reserved.

        Raises NotFound for an unknown model, RateLimited if a token budget is used up, and the engine's refusals.
        """
        prepared = await self._first_served(self._prepare, await self._show(asked), instead)
        payer = Payer(identity=self._context.identity, model=self._services.models.get(asked.model).id)
        entry = self._services.ledger.open(payer)
        try:
            prompt = prepared.prompt_tokens
            least = 1 if asked.sequences[0].max_tokens is None else prepared.limit
            self.standings = await entry.reserve(prompt + least, prompt + prepared.limit)
        finally:
            await entry.settle(None)

    async def begin(self, asked: ModelRequest, instead: Instead) -> Run:
        """Start a run that no request waits for. The caller must close it. Raises what ``generate`` does."""
        asked = await self._show(asked)
        self._shown = True
        return await self._first_served(self.generate, asked, instead)

    async def read_tokens(self, asked: ModelRequest) -> TokenizedText:
        """Return the tokens and the text of a request's Tokenization. Nothing is queued.

        Raises NotFound for an unknown model, and the engine's refusals.
        """
        asked = await self._show(asked)
        engine = await self._services.models.engine(asked.model)
        if not isinstance(engine, TokenReader):
            raise shows_no_tokens(asked.model)
        return await engine.read_tokens(owned(asked, self._context.identity).sequences[0])

    async def _show(self, asked: ModelRequest) -> ModelRequest:
        """Show the request to the hooks; returns it as they leave it."""
        self._context = msgspec.structs.replace(self._context, model=asked.model)
        return await self._services.hooks.before(self._context, asked)

    async def answer(
        self,
        generate: Callable[[ModelRequest], Awaitable[Run]],
        asked: ModelRequest,
        translator: Translator,
        *,
        stream: bool,
        keep: Keep | None,
        detach_as: str,
        about: str = "",
        blocks: BlockForm | None = None,
    ) -> Any:
        """Answer with an EventStream, or with the whole answer of the run that ``generate`` starts. See
        ``Handler.answer``."""
        asked = await self._show(asked)
        keeper: Keeper | None = None
        if keep is not None:
            asked, keeper = await keep(asked)
        start = partial(self._start, generate, asked, keeper)
        sink: MakeSink = FrameSink
        if blocks is not None:
            sink = partial(BlockSink, form=blocks, renderer=self._services.renderer)
        if detach_as:
            work = partial(detached_answer, start, translator, keeper, whole=not stream, make_sink=sink)
            log, self.detached_task = self._services.streams.start(detach_as, self._permit, work, about)
            return (
                Replay(self._services.streams.read(log, 0)) if stream else await asyncio.shield(self.detached_task)
            )
        run = await start()
        if stream:
            return GeneratedStream(run, translator, keeper, sink)
        return await whole_answer(run, translator, keeper)

    async def _start(
        self, generate: Callable[[ModelRequest], Awaitable[Run]], asked: ModelRequest, keeper: Keeper | None
    ) -> Run:
        self._shown = True
        try:
            return await self._first_served(generate, asked, None if keeper is None else keeper.instead)
        finally:
            self._shown = False

    async def _first_served(
        self, serve: Callable[[ModelRequest], Awaitable[T]], asked: ModelRequest, instead: Instead | None
    ) -> T:
        """Return what ``serve`` makes of a request or, if it is refused, of the first other one that is not."""
        while True:
            try:
                return await serve(asked)
            except InvalidRequest as error:
                other = None if instead is None else await instead(error)
                if other is None:
                    raise
                asked = other

    def resume(self, stream_id: str, number: int) -> EventStream:
        """Return the caller's own stream after the event with this number. Raises NotFound or InvalidRequest."""
        return Replay(self._services.streams.follow(stream_id, self._context.identity.owner, number))
