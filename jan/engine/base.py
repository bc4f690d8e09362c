"""The contract between handlers, engines, and the backends that engines drive.

An ``Engine`` lives on the event loop. ``submit`` names the receiver of a request's events: ``Started``, then any
number of ``Queued`` while no slot is free, then ``Delta``s, then exactly one ``Finished``. ``Failed`` may come at
any point and is the last then. ``prepare`` finds out beforehand whether a request can be served; ``cancel``
ends it at once. Where a task may wait for each event, ``engine.iterate.events_of`` gives them as an async
iterator.

A ``Backend`` lives on an engine's own thread and knows nothing of asyncio: it is told to prepare, begin,
step and cancel jobs, and every step returns what each job produced.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import msgspec

from jan.engine.formats import FormatCompiler
from jan.engine.generation_events import (
    Delta,
    Event,
    Failed,
    Finished,
    JobId,
    PreparedRequest,
    Queued,
    Receiver,
    Started,
    ToolCallFragment,
)
from jan.engine.generation_request import (
    ChatPrompt,
    GenerationRequest,
    Priority,
    Sampling,
    TextPrompt,
    TokenPrompt,
)
from jan.engine.stats import CacheUse, EngineStats
from jan.errors import JanError
from jan.routing.moved import old_names_of

if not TYPE_CHECKING:
    __getattr__ = old_names_of(__name__)

__all__ = [
    "Backend",
    "ChatPrompt",
    "Delta",
    "Engine",
    "EngineStats",
    "Event",
    "Failed",
    "Finished",
    "GenerationRequest",
    "JobId",
    "ModelInfo",
    "OnProgress",
    "Output",
    "PreparedJob",
    "PreparedRequest",
    "Priority",
    "Queued",
    "Receiver",
    "Sampling",
    "Started",
    "TextPrompt",
    "TokenPrompt",
    "ToolCallFragment",
]

OnProgress = Callable[[float], None]
# What a step gives; an error ends its own job and no other.
Output = Delta | Finished | JanError


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a loaded model can do. ``context_length``: prompt and answer together, in tokens. ``slots``: requests
    at once; None where that has no number. ``cache``: kept up to date by the backend, None where there is none.
    ``formats``: what compiles output formats, None where nothing does."""

    context_length: int
    slots: int | None = None
    logprobs: bool = False
    output_formats: bool = False
    token_prompts: bool = False
    cache: CacheUse | None = None
    formats: FormatCompiler | None = None
    details: dict[str, str] = {}


class PreparedJob(Protocol):
    """A request that the backend accepted: tokenised, checked, ready to begin."""

    @property
    def prompt_tokens(self) -> int:
        """Length of the prompt in tokens."""
        ...

    @property
    def limit(self) -> int:
        """How many tokens may be generated."""
        ...

    @property
    def prompt_text(self) -> str:
        """The prompt's text where the request has ``echo``, else ''."""
        ...


class Backend(Protocol):
    """A model on the engine's thread. Every call comes from that one thread."""

    def load(self, progress: OnProgress) -> ModelInfo:
        """Load the model; ``progress`` takes 0..1. Raises ConfigurationError if it can't."""
        ...

    def prepare(self, request: GenerationRequest) -> PreparedJob:
        """Tokenise and check; raises InvalidRequest for what the model can't serve."""
        ...

    def has_room(self, job: PreparedJob) -> bool:
        """Whether ``begin`` may be called with this job now."""
        ...

    def begin(self, job_id: JobId, job: PreparedJob) -> None:
        """Start generating."""
        ...

    def step(self) -> list[tuple[JobId, Output]]:
        """Advance every begun job as far as one forward pass takes it."""
        ...

    def cancel(self, job_id: JobId) -> None:
        """Forget a begun job and free what it held; unknown ids are ignored."""
        ...

    def reset(self) -> None:
        """After ``step`` raised: forget all jobs and caches, be ready again."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...


class Engine(Protocol):
    """A served model, on the event loop."""

    @property
    def info(self) -> ModelInfo:
        """What the model can do; known once started."""
        ...

    @property
    def stats(self) -> EngineStats:
        """Live counters."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why the engine can't serve, in words; None while it can, and before it was started."""
        ...

    @property
    def healthy(self) -> bool:
        """Whether there is no trouble."""
        ...

    @property
    def max_sequences(self) -> int | None:
        """How many requests of one owner fit in when there are no others; None for no limit."""
        ...

    async def start(self, progress: OnProgress) -> None:
        """Load the model; raises ConfigurationError if it can't be."""
        ...

    async def prepare(self, request: GenerationRequest) -> PreparedRequest:
        """Tokenise and check a request without queueing it. What was prepared must be submitted or cancelled.

        Raises InvalidRequest for what the model can't serve, Unavailable.
        """
        ...

    async def submit(self, request: GenerationRequest | PreparedRequest, receiver: Receiver) -> JobId:
        """Queue a request; everything that becomes of it goes to ``receiver``. It need not be prepared before.

        Raises InvalidRequest or Unavailable where that is known at once; later the receiver gets ``Failed``.
        """
        ...

    def cancel(self, job_id: JobId) -> None:
        """End a request, from now on its receiver gets nothing; harmless when repeated or after its end."""
        ...

    async def close(self) -> None:
        """Cancel what runs and free the model; harmless when repeated."""
        ...
