"""The contract between handlers, engines, and the backends that engines drive.

An ``Engine`` lives on the event loop. It gives each request's events to a receiver: ``Started``, then any number
of ``Queued`` while no slot is free, then ``Delta``s, then exactly one ``Finished``. ``Failed`` may come at any
point, and is the last event then. ``engine.iterate.events_of`` gives the same events as an async iterator.

A ``Backend`` lives on an engine's own thread and knows nothing of asyncio. It prepares, begins, steps and cancels
jobs, and each step returns the new output of every job.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from jan.engine.generation_events import (
    Delta,
    Event,
    Failed,
    Finished,
    JobId,
    PreparedRequest,
    PromptNotes,
    Queued,
    Receiver,
    Started,
    ToolCallFragment,
)
from jan.engine.generation_request import (
    ChatPrompt,
    EmbeddingPrompt,
    GenerationRequest,
    PairPrompt,
    Priority,
    Prompt,
    Sampling,
    TextPrompt,
    Tokenization,
    TokenizedText,
    TokenPrompt,
)
from jan.engine.model_info import ChatForms, EmbeddingForms, ModelInfo, TokenizerForms
from jan.engine.stats import EngineStats
from jan.errors import JanError
from jan.routing.moved import old_names_of

if not TYPE_CHECKING:
    __getattr__ = old_names_of(__name__)

__all__ = [
    "Backend",
    "ChatForms",
    "ChatPrompt",
    "ChoosingBackend",
    "Delta",
    "EmbeddingForms",
    "EmbeddingPrompt",
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
    "PairPrompt",
    "PreparedJob",
    "PreparedRequest",
    "Priority",
    "Prompt",
    "PromptNotes",
    "Queued",
    "Receiver",
    "Sampling",
    "Started",
    "TextPrompt",
    "TokenPrompt",
    "TokenReader",
    "Tokenization",
    "TokenizedText",
    "TokenizerForms",
    "TokenizingBackend",
    "ToolCallFragment",
]

OnProgress = Callable[[float], None]
# One output of a step. An error ends only its own job.
Output = Delta | Finished | JanError


class PreparedJob(Protocol):
    """A request that the backend has tokenised and checked, ready to begin.

    It may have ``notes`` too, of type PromptNotes: what was left out of the request.
    """

    @property
    def prompt_tokens(self) -> int:
        """Length of the prompt in tokens."""
        ...

    @property
    def limit(self) -> int:
        """Most tokens that may be generated."""
        ...

    @property
    def prompt_text(self) -> str:
        """The prompt's text if the request has ``echo``, else ''."""
        ...


class Backend(Protocol):
    """A model on the engine's thread. All calls come from that thread.

    A class is made with its options if it has an attribute ``Options``, the msgspec struct that they are decoded
    to. Making it checks them, and loads nothing.

    Usage, by the engine::

        info = backend.load(print)
        job = backend.prepare(request)
        if backend.has_room(job):
            backend.begin(job_id, job)
        while running:
            for job_id, output in backend.step():
                ...  # Delta; Finished or an error ends the job
        backend.close()
    """

    def load(self, progress: OnProgress) -> ModelInfo:
        """Load the model; ``progress`` gets the loaded part, 0..1. Raises ConfigurationError on failure."""
        ...

    def prepare(self, request: GenerationRequest) -> PreparedJob:
        """Tokenise and check a request. Raises InvalidRequest if the model can't serve it."""
        ...

    def has_room(self, job: PreparedJob) -> bool:
        """Return True if ``begin`` may be called with this job now."""
        ...

    def begin(self, job_id: JobId, job: PreparedJob) -> None:
        """Start a job: its prefill begins with the next step."""
        ...

    def step(self) -> list[tuple[JobId, Output]]:
        """Run one forward pass; returns the new outputs, in order.

        An exception fails all running jobs. ``reset`` is called after it.
        """
        ...

    def cancel(self, job_id: JobId) -> None:
        """Drop a running job and free its slot and cache. Unknown ids are ignored."""
        ...

    def reset(self) -> None:
        """Drop all jobs and caches after ``step`` raised, and be ready again."""
        ...

    def close(self) -> None:
        """Free the model's memory."""
        ...


class TokenizingBackend(Backend, Protocol):
    """A backend that tokenises prompts on other threads than its own, so that no running answer waits for that.

    ``prepare`` then gets the tokenised prompt, and should be fast. Sequences with the same prompt share it.
    """

    def tokenize(self, request: GenerationRequest) -> Any:
        """Tokenise a request's prompt, on any thread, while the backend does other things on its own.

        Raises InvalidRequest if the prompt can't be served.
        """
        ...

    def prepare(self, request: GenerationRequest, prompt: Any = None) -> PreparedJob:
        """Check a request. ``prompt``: what ``tokenize`` returned; None if it was not called for this one."""
        ...


@runtime_checkable
class ChoosingBackend(Protocol):
    """A backend whose files say only when they have been tried which backend serves them."""

    def for_model(self) -> Backend:
        """Return the backend for the model, this one or another, on the engine's thread. Nothing is loaded yet.

        Raises ConfigurationError for a model that none serves.
        """
        ...


@runtime_checkable
class TokenReader(Protocol):
    """An engine that shows tokens."""

    async def read_tokens(self, request: GenerationRequest) -> TokenizedText:
        """Return the tokens and the text of a request's Tokenization. Nothing is queued or computed.

        Its backend has a method of this name, which any thread may call while the backend does other things.

        Raises InvalidRequest if the model can't do it.
        """
        ...


class Engine(Protocol):
    """A served model. All calls come from the event loop.

    Usage::

        await engine.start(on_progress)
        job_id = await engine.submit(request, receiver)  # receiver(events, at) is called from now on
        engine.cancel(job_id)
        await engine.close()
    """

    @property
    def info(self) -> ModelInfo:
        """The model's abilities. Raises Unavailable before it is loaded."""
        ...

    @property
    def stats(self) -> EngineStats:
        """Live counters of the engine."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why the engine can't serve, as a sentence; None while it can, and before it is started."""
        ...

    @property
    def healthy(self) -> bool:
        """True if there is no trouble."""
        ...

    @property
    def max_sequences(self) -> int | None:
        """Most requests of one owner while there are no others; None: no limit."""
        ...

    async def start(self, progress: OnProgress) -> None:
        """Load the model; ``progress`` gets the loaded part, 0..1. Raises ConfigurationError on failure."""
        ...

    async def prepare(self, request: GenerationRequest) -> PreparedRequest:
        """Tokenise and check a request without queueing it. The result must be submitted or cancelled.

        A request with the prompt object of another open one is not tokenised again.

        Raises:
            InvalidRequest: if the model can't serve the request.
            Unavailable: if the engine can't serve at present.
        """
        ...

    async def submit(self, request: GenerationRequest | PreparedRequest, receiver: Receiver) -> JobId:
        """Queue a request; its events go to ``receiver``.

        Args:
            request: prepared before, or not.
            receiver: called on the event loop with the new events and the time of their delivery.

        Returns:
            The id of the job, for ``cancel``.

        Raises:
            InvalidRequest, Unavailable: if that is known at once. Later errors come to the receiver as ``Failed``.
        """
        ...

    def cancel(self, job_id: JobId) -> None:
        """End a request at once; its receiver gets no more events. Ended and unknown ids are ignored."""
        ...

    async def close(self) -> None:
        """Fail all requests and free the model. May be called again."""
        ...
