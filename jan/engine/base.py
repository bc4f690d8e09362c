"""The contract between handlers, engines, and the backends that engines drive.

An ``Engine`` lives on the event loop: ``submit`` gives an async iterator of ``Started``, then, while there is no
slot free, any number of ``Queued``, then ``Delta``s, then exactly one ``Finished``; or it raises a ``JanError``.
Closing the iterator cancels the generation.

A ``Backend`` lives on an engine's own thread and knows nothing of asyncio: it is told to prepare, begin,
step and cancel jobs, and every step returns what each job produced.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from jan.engine.formats import FormatCompiler, OutputFormat
from jan.engine.stats import CacheUse, EngineStats
from jan.errors import JanError
from jan.routing.moved import old_names_of
from jan.schema.chat import Tool
from jan.schema.messages import Message
from jan.schema.sampling import FinishReason, TokenLogprob

if not TYPE_CHECKING:
    __getattr__ = old_names_of(__name__)

JobId = int
OnProgress = Callable[[float], None]
Priority = Literal["high", "normal", "low"]


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How the next token is chosen. The defaults are OpenAI's: the model's own distribution."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repeat_penalty: float = 1.0
    logit_bias: dict[int, float] = {}
    seed: int | None = None

    @property
    def penalises(self) -> bool:
        """Whether earlier tokens influence the choice other than through the model."""
        return (self.presence_penalty, self.frequency_penalty, self.repeat_penalty) != (0.0, 0.0, 1.0)


class ChatPrompt(msgspec.Struct, frozen=True, kw_only=True):
    """Messages that the model's chat template turns into a prompt. ``add_generation_prompt``: with what begins an
    answer; ``continue_final_message``: instead, the last message is left open and the answer goes on with it."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    add_generation_prompt: bool = True
    continue_final_message: bool = False


class TextPrompt(msgspec.Struct, frozen=True):
    """Text that is the prompt as it stands."""

    text: str


class TokenPrompt(msgspec.Struct, frozen=True):
    """Token ids that are the prompt as they stand."""

    tokens: tuple[int, ...]


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One sequence to generate. ``max_tokens`` None: as many as the context takes.

    ``logprobs``: None for none, else how many candidates beside each token. ``echo``: give the prompt's
    text back. ``owner`` is whose share of the engine this uses, ``priority`` the class in which it waits.
    ``whole``: nobody sees anything of it before its end, so deltas may come a little later, several as one.
    """

    prompt: ChatPrompt | TextPrompt | TokenPrompt
    sampling: Sampling = Sampling()
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    output: OutputFormat = OutputFormat()
    echo: bool = False
    owner: str = ""
    priority: Priority = "normal"
    whole: bool = False


class ToolCallFragment(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of the tool call at ``index``: ``name`` in its first piece only, then ``arguments``."""

    index: int
    name: str = ""
    arguments: str = ""


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """The request was accepted; ``prompt_text`` is there if the request has ``echo``."""

    prompt_tokens: int
    prompt_text: str = ""


class Queued(msgspec.Struct, frozen=True, kw_only=True):
    """The request waits for a slot: ``position`` 1 is next. It stands between ``Started`` and the first ``Delta``
    only, and the latest one replaces those not fetched yet. ``estimate_seconds`` until it begins, going by how
    fast others began of late; None while that is not known."""

    position: int
    estimate_seconds: int | None = None


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """New text, reasoning, tool-call pieces and log probabilities; ``tokens`` generated since the last delta. A
    first one may have nothing: it tells that the request got its slot. ``parts``: the deltas that it is the sum
    of, where several were waiting."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallFragment, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    tokens: int = 0
    parts: tuple["Delta", ...] = ()

    @staticmethod
    def sum(parts: "Sequence[Delta]") -> "Delta":
        """Deltas as one."""
        return Delta(
            text="".join([part.text for part in parts]),
            reasoning="".join([part.reasoning for part in parts]),
            tool_calls=tuple(chain.from_iterable([part.tool_calls for part in parts])),
            logprobs=tuple(chain.from_iterable([part.logprobs for part in parts])),
            tokens=sum([part.tokens for part in parts]),
        )

    def merge(self, later: "Delta") -> "Delta":
        """This delta and a later one as one."""
        return Delta.sum((self, later))

    @property
    def text_only(self) -> bool:
        """Whether nothing but text is new."""
        return not (self.reasoning or self.tool_calls or self.logprobs)

    def __bool__(self) -> bool:
        return bool(self.text) or not self.text_only


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """The end: why, and the token counts. ``cached_tokens`` of the prompt were not computed again;
    ``reasoning_tokens`` of the completion were reasoning; ``queue_seconds`` is how long the request
    waited for a slot."""

    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    queue_seconds: float = 0.0


Event = Started | Queued | Delta | Finished
# An error ends its own job and no other.
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

    def submit(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Generate; raises InvalidRequest or Unavailable before the first event, JanError later."""
        ...

    async def close(self) -> None:
        """Cancel what runs and free the model; harmless when repeated."""
        ...
