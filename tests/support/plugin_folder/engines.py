"""Two engines: a backend, which runs on the engine's thread, and an engine on the event loop."""

import asyncio
import itertools
from time import perf_counter

import msgspec

from jan.engine.answers.answer import Answer
from jan.engine.backends.echo import EchoBackend, EchoOptions
from jan.engine.base import (
    EngineStats,
    Failed,
    Finished,
    GenerationRequest,
    JobId,
    ModelInfo,
    OnProgress,
    PreparedRequest,
    Receiver,
    Started,
    TextPrompt,
)
from jan.engine.runtime.capacity import check_capabilities, token_budget
from jan.errors import InvalidRequest, JanError, Unavailable


class Loud(EchoBackend):
    """A backend that repeats the text in capitals."""

    class Options(EchoOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """The echo engine's, and how loud."""

        volume: int = 1

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._mark = "!" * options.volume

    def _split(self, text: str) -> list[str]:
        return super()._split(f"{text.upper()}{self._mark}")


class Loop:
    """An engine on the event loop, which repeats the text again and again."""

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """The most tokens of prompt and answer together."""

        context: int = 4096

    max_sequences = None

    def __init__(self, options: Options) -> None:
        self.info = ModelInfo(context_length=options.context)
        self.stats = EngineStats()
        self.trouble: str | None = None
        self._ids = itertools.count()
        self._prepared: dict[JobId, GenerationRequest] = {}
        self._running: dict[JobId, tuple[asyncio.Task[None], Receiver]] = {}

    @property
    def healthy(self) -> bool:
        """True if there is no trouble."""
        return self.trouble is None

    async def start(self, progress: OnProgress) -> None:
        """There is nothing to load."""
        progress(1.0)

    async def prepare(self, request: GenerationRequest) -> PreparedRequest:
        """Count the prompt's words."""
        self._check()
        try:
            check_capabilities(self.info, request)
            words = self._words(request)
            limit = token_budget(request, len(words), self.info.context_length)
        except InvalidRequest:
            self.stats.failed += 1
            raise
        job_id = next(self._ids)
        self._prepared[job_id] = request
        return PreparedRequest(job_id=job_id, prompt_tokens=len(words), limit=limit)

    async def submit(self, request: GenerationRequest | PreparedRequest, receiver: Receiver) -> JobId:
        """Begin to speak at once."""
        self._check()
        prepared = request if isinstance(request, PreparedRequest) else await self.prepare(request)
        asked = self._prepared.pop(prepared.job_id, None)
        if asked is None:
            raise Unavailable("The request is gone.")
        task = asyncio.create_task(self._speak(prepared, asked, receiver))
        self._running[prepared.job_id] = (task, receiver)
        return prepared.job_id

    async def _speak(self, prepared: PreparedRequest, asked: GenerationRequest, receiver: Receiver) -> None:
        self.stats.running += 1
        try:
            receiver([Started(prompt_tokens=prepared.prompt_tokens)], perf_counter())
            answer = Answer(asked, prepared.prompt_tokens, prepared.limit)
            outputs = [] if prepared.limit else answer.end("length")
            words = itertools.cycle(self._words(asked))
            while not (outputs and isinstance(outputs[-1], Finished)):
                await asyncio.sleep(0)
                outputs = answer.add(next(words).encode())
                if not isinstance(outputs[-1], Finished):
                    receiver(outputs, perf_counter())
            self._running.pop(prepared.job_id, None)
            self.stats.finished += 1
        finally:
            self.stats.running -= 1
        receiver(outputs, perf_counter())

    def _words(self, request: GenerationRequest) -> list[str]:
        assert isinstance(request.prompt, TextPrompt)  # the only kind that is sent to it
        return [f"{word} " for word in request.prompt.text.split()]

    def _check(self) -> None:
        if self.trouble is not None:
            raise Unavailable(self.trouble)

    def cancel(self, job_id: JobId) -> None:
        """Stop speaking for this request."""
        self._prepared.pop(job_id, None)
        task, _ = self._running.pop(job_id, (None, None))
        if task is not None:
            task.cancel()
            self.stats.cancelled += 1

    async def close(self) -> None:
        """Fail all requests that run."""
        self.trouble = "The engine is closed."
        error: JanError = Unavailable(self.trouble)
        running, self._running = self._running, {}
        for task, receiver in running.values():
            task.cancel()
            receiver([Failed.of(error)], perf_counter())
