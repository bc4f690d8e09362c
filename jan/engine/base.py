"""The contract between handlers, engines, and the backends that engines drive.

An ``Engine`` lives on the event loop: ``submit`` gives an async iterator of ``Started``, then ``Delta``s,
then exactly one ``Finished``; or it raises a ``JanError``. Closing the iterator cancels the generation.

A ``Backend`` lives on an engine's own thread and knows nothing of asyncio: it is told to prepare, begin,
step and cancel jobs, and every step returns what each job produced.
"""

from collections.abc import AsyncGenerator, Callable
from typing import Protocol

import msgspec

from jan.errors import InvalidRequest, JanError
from jan.schema.chat import Tool
from jan.schema.messages import Message
from jan.schema.sampling import FinishReason, TokenLogprob

JobId = int
Progress = Callable[[float], None]


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
    """Messages that the model's chat template turns into a prompt."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()


class TextPrompt(msgspec.Struct, frozen=True):
    """Text that is the prompt as it stands."""

    text: str


class TokenPrompt(msgspec.Struct, frozen=True):
    """Token ids that are the prompt as they stand."""

    tokens: tuple[int, ...]


class OutputFormat(msgspec.Struct, frozen=True, kw_only=True):
    """What the text must look like. ``json_schema`` is a JSON text; '' leaves the answer free.

    ``must_call``: the answer is a call of one of ``callable_tools``; otherwise it may be one.
    """

    json_schema: str = ""
    callable_tools: tuple[Tool, ...] = ()
    must_call: bool = False
    parallel_calls: bool = True


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One sequence to generate. ``max_tokens`` None: as many as the context takes.

    ``logprobs``: None for none, else how many candidates beside each token. ``echo``: give the prompt's
    text back. ``owner`` is whose share of the engine this uses.
    """

    prompt: ChatPrompt | TextPrompt | TokenPrompt
    sampling: Sampling = Sampling()
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    output: OutputFormat = OutputFormat()
    echo: bool = False
    owner: str = ""


class ToolCallFragment(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of the tool call at ``index``: ``name`` in its first piece only, then ``arguments``."""

    index: int
    name: str = ""
    arguments: str = ""


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """The request was accepted; ``prompt_text`` is there if the request has ``echo``."""

    prompt_tokens: int
    prompt_text: str = ""


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """New text, tool-call pieces and log probabilities; ``tokens`` generated since the last delta."""

    text: str = ""
    tool_calls: tuple[ToolCallFragment, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    tokens: int = 0

    def merge(self, later: "Delta") -> "Delta":
        """This delta and a later one as one."""
        return Delta(
            text=self.text + later.text,
            tool_calls=self.tool_calls + later.tool_calls,
            logprobs=self.logprobs + later.logprobs,
            tokens=self.tokens + later.tokens,
        )

    def __bool__(self) -> bool:
        return bool(self.text or self.tool_calls or self.logprobs)


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """The end: why, and the token counts. ``cached_tokens`` of the prompt were not computed again."""

    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


Event = Started | Delta | Finished
# An error ends its own job and no other.
Output = Delta | Finished | JanError


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a loaded model can do. ``context_length``: prompt and answer together, in tokens."""

    context_length: int
    logprobs: bool = False
    output_formats: bool = False
    token_prompts: bool = False
    details: dict[str, str] = {}


class EngineStats(msgspec.Struct, kw_only=True):
    """Counters of one engine since its start; ``running`` and ``waiting`` are of this moment, ``progress_at``
    is when a step last ended or work began, on the monotonic clock."""

    running: int = 0
    waiting: int = 0
    progress_at: float = 0.0
    steps: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finished: int = 0
    cancelled: int = 0
    failed: int = 0


class PreparedJob(Protocol):
    """A request that the backend accepted: tokenised, checked, ready to begin."""

    @property
    def prompt_tokens(self) -> int:
        """Length of the prompt in tokens."""
        ...

    @property
    def prompt_text(self) -> str:
        """The prompt's text where the request has ``echo``, else ''."""
        ...


class Backend(Protocol):
    """A model on the engine's thread. Every call comes from that one thread."""

    def load(self, progress: Progress) -> ModelInfo:
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
    def healthy(self) -> bool:
        """False once the engine can't serve any more."""
        ...

    async def start(self, progress: Progress) -> None:
        """Load the model; raises ConfigurationError if it can't be."""
        ...

    def submit(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Generate; raises InvalidRequest or Unavailable before the first event, JanError later."""
        ...

    async def close(self) -> None:
        """Cancel what runs and free the model; harmless when repeated."""
        ...


def token_budget(request: GenerationRequest, prompt_tokens: int, context_length: int) -> int:
    """How many tokens may be generated; raises InvalidRequest if the prompt alone fills the context."""
    room = context_length - prompt_tokens
    if room < 1:
        raise prompt_too_long(request, str(prompt_tokens), context_length)
    return room if request.max_tokens is None else min(room, request.max_tokens)


def prompt_too_long(request: GenerationRequest, prompt_tokens: str, context_length: int) -> InvalidRequest:
    """The refusal of a prompt that fills the context; ``prompt_tokens`` in words."""
    return InvalidRequest(
        f"the prompt is {prompt_tokens} tokens long; this model's context takes {context_length} tokens, "
        "prompt and answer together",
        code="context_length_exceeded",
        param="messages" if isinstance(request.prompt, ChatPrompt) else "prompt",
    )


def check_capabilities(info: ModelInfo, request: GenerationRequest) -> None:
    """Raises InvalidRequest for what the model can't do, rather than leaving it out in silence."""
    wants_format = bool(request.output.json_schema or request.output.must_call)
    if wants_format and not info.output_formats:
        param = "tools" if request.output.must_call else "response_format"
        raise InvalidRequest("this model can't be held to an output format", param=param)
    if request.logprobs is not None and not info.logprobs:
        raise InvalidRequest("this model gives no log probabilities", param="logprobs")
    if isinstance(request.prompt, TokenPrompt) and not info.token_prompts:
        raise InvalidRequest("this model takes no token ids, only text", param="prompt")
