"""The events of a request: accepted, its place in the queue, parts of the answer, the end.

Every event is a tagged struct, so it can be sent to another process.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from types import MappingProxyType

import msgspec

from jan.engine.call_ids import CallIds
from jan.errors import (
    AuthenticationFailed,
    ConfigurationError,
    Conflict,
    InternalError,
    InvalidRequest,
    JanError,
    NotFound,
    PayloadTooLarge,
    PermissionDenied,
    RateLimited,
    Unavailable,
)
from jan.schema.sampling import FinishReason, TokenLogprob

JobId = int

# The errors that can be sent. A plugin's own class is sent as the nearest of these that it extends.
_ERRORS = MappingProxyType[str, type[JanError]](
    {
        error.__name__: error
        for error in (
            AuthenticationFailed,
            ConfigurationError,
            Conflict,
            InternalError,
            InvalidRequest,
            NotFound,
            PayloadTooLarge,
            PermissionDenied,
            RateLimited,
            Unavailable,
        )
    }
)


class ToolCallFragment(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of the tool call at ``index``: only the first piece has ``name``, the others have ``arguments``."""

    index: int
    name: str = ""
    arguments: str = ""


class PromptNotes(msgspec.Struct, frozen=True, kw_only=True):
    """Notes of an engine on a request that it serves.

    ``ignored``: names of parameters that the loaded model has no use for, such as a switch that its chat template
    lacks. ``relaxed``: paths of the parts of output formats that are not enforced. ``call_ids``: the form of ids
    of tool calls.
    """

    ignored: tuple[str, ...] = ()
    relaxed: tuple[str, ...] = ()
    call_ids: CallIds = "call"


class PreparedRequest(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A request that the model can serve: tokenised and checked, not queued yet.

    ``limit``: most tokens of the answer. ``prompt_text``: set if the request has ``echo``.
    ``notes``: what was left out.
    """

    job_id: JobId
    prompt_tokens: int
    limit: int
    prompt_text: str = ""
    notes: PromptNotes = PromptNotes()


class Started(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The request was accepted. ``prompt_text``: set if the request has ``echo``; ``prompt_ids``: if it wants
    token ids.
    ``notes``: what was left out. ``fingerprint``: that of the model."""

    prompt_tokens: int
    prompt_text: str = ""
    prompt_ids: tuple[int, ...] = ()
    notes: PromptNotes = PromptNotes()
    fingerprint: str = ""


class Queued(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The request waits for a slot. Comes only between ``Started`` and the first ``Delta``.

    ``position``: 1 is next. ``estimate_seconds``: expected wait, from how fast other requests began recently; None
    if unknown. A new event replaces an older one that was not read yet.
    """

    position: int
    estimate_seconds: int | None = None


class Delta(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """New text, reasoning, pieces of tool calls, and log probabilities, since the last delta.

    ``tokens``: number of tokens since the last delta; ``token_ids``: they, if the request wants them.
    ``prompt_logprobs``: those of the prompt's tokens, if the request wants them; the first token has none, but 0.
    ``parts``: the deltas that this one is merged from, if any.
    The first delta may be empty: the request has got its slot.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallFragment, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    tokens: int = 0
    token_ids: tuple[int, ...] = ()
    prompt_logprobs: tuple[TokenLogprob, ...] = ()
    parts: tuple["Delta", ...] = ()

    @staticmethod
    def sum(parts: "Sequence[Delta]") -> "Delta":
        """Merge several deltas into one, without ``parts``."""
        return Delta(
            text="".join([part.text for part in parts]),
            reasoning="".join([part.reasoning for part in parts]),
            tool_calls=tuple(chain.from_iterable([part.tool_calls for part in parts])),
            logprobs=tuple(chain.from_iterable([part.logprobs for part in parts])),
            tokens=sum([part.tokens for part in parts]),
            token_ids=tuple(chain.from_iterable([part.token_ids for part in parts])),
            prompt_logprobs=tuple(chain.from_iterable([part.prompt_logprobs for part in parts])),
        )

    def merge(self, later: "Delta") -> "Delta":
        """Merge a later delta into this one."""
        return Delta.sum((self, later))

    @property
    def text_only(self) -> bool:
        """True if only text is new."""
        return not (self.reasoning or self.tool_calls or self.logprobs or self.token_ids or self.prompt_logprobs)

    def calls_from(self, call: int) -> tuple[tuple[ToolCallFragment, ...], tuple[ToolCallFragment, ...]]:
        """Return the pieces of a call that has begun before, and those of later calls.

        One token may have the end of a call and the text behind it. So the former come before the text, and the
        latter after it.
        """
        ended = tuple(fragment for fragment in self.tool_calls if fragment.index == call)
        return ended, self.tool_calls[len(ended) :]

    def __bool__(self) -> bool:
        return bool(self.text) or not self.text_only


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The end of an answer: its reason, the stop string that ended it if one did, and token counts.

    ``cached_tokens``: prompt tokens found in the cache. ``reasoning_tokens``: completion tokens that were
    reasoning.
    ``vectors``: those of the texts of an EmbeddingPrompt, each little-endian float32 [dimensions] of length 1; or
    the scores of a PairPrompt, each a logit as float32 [1].
    ``queue_seconds``: how long the request waited for a slot.
    """

    reason: FinishReason
    stop_string: str = ""
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    vectors: tuple[bytes, ...] = ()
    queue_seconds: float = 0.0


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The request failed: a JanError in a form that can be sent to another thread or process."""

    kind: str
    message: str
    code: str
    param: str | None = None
    headers: dict[str, str] = {}

    @staticmethod
    def of(error: JanError) -> "Failed":
        """Return the event for an error."""
        kinds = [base.__name__ for base in type(error).__mro__ if base.__name__ in _ERRORS]
        return Failed(
            kind=kinds[0] if kinds else InternalError.__name__,
            message=error.message,
            code=error.code,
            param=error.param,
            headers=dict(error.headers),
        )

    @staticmethod
    def without_headers(error: JanError) -> "Failed":
        """Return the event for an error as it is stored. Its headers are for the moment only."""
        return msgspec.structs.replace(Failed.of(error), headers={})

    def error(self) -> JanError:
        """Return the error again, without its traceback, which would hold frames."""
        return _ERRORS[self.kind](self.message, code=self.code, param=self.param, headers=self.headers)


Event = Started | Queued | Delta | Finished | Failed
#: Takes the new events of one request, in order, and the time of their delivery by ``time.perf_counter``.
#: It is called on the event loop and must not raise.
Receiver = Callable[[list[Event], float], None]
