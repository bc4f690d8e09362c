"""What an engine tells of a request: accepted, its place in the queue, pieces of the answer, the end.

Every event is a tagged struct, so that it can cross to another process as it is.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from types import MappingProxyType

import msgspec

from jan.errors import (
    AuthenticationFailed,
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

# The errors that cross; a plugin's own class crosses as the nearest of these that it extends.
_ERRORS = MappingProxyType[str, type[JanError]](
    {
        error.__name__: error
        for error in (
            AuthenticationFailed,
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
    """A piece of the tool call at ``index``: ``name`` in its first piece only, then ``arguments``."""

    index: int
    name: str = ""
    arguments: str = ""


class PreparedRequest(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A request that the model can serve: tokenised and checked, not queued yet. ``limit``: most tokens of the
    answer; ``prompt_text`` is there if the request has ``echo``."""

    job_id: JobId
    prompt_tokens: int
    limit: int
    prompt_text: str = ""


class Started(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The request was accepted; ``prompt_text`` is there if the request has ``echo``."""

    prompt_tokens: int
    prompt_text: str = ""


class Queued(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The request waits for a slot; ``position`` 1 is next. It comes only between ``Started`` and the first
    ``Delta``, and the newest one replaces those that were not taken yet. ``estimate_seconds`` until it begins, by
    how fast others began recently; None while that is not known."""

    position: int
    estimate_seconds: int | None = None


class Delta(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """New text, reasoning, tool-call pieces and log probabilities; ``tokens`` generated since the last delta. The
    first one may be empty: the request got its slot. ``parts``: the deltas that it is the sum of, where several
    were waiting."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallFragment, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    tokens: int = 0
    parts: tuple["Delta", ...] = ()

    @staticmethod
    def sum(parts: "Sequence[Delta]") -> "Delta":
        """Add deltas up to one."""
        return Delta(
            text="".join([part.text for part in parts]),
            reasoning="".join([part.reasoning for part in parts]),
            tool_calls=tuple(chain.from_iterable([part.tool_calls for part in parts])),
            logprobs=tuple(chain.from_iterable([part.logprobs for part in parts])),
            tokens=sum([part.tokens for part in parts]),
        )

    def merge(self, later: "Delta") -> "Delta":
        """Add a later delta to this one."""
        return Delta.sum((self, later))

    @property
    def text_only(self) -> bool:
        """Whether nothing but text is new."""
        return not (self.reasoning or self.tool_calls or self.logprobs)

    def __bool__(self) -> bool:
        return bool(self.text) or not self.text_only


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The end: why, and the token counts. ``cached_tokens`` of the prompt were not computed again;
    ``reasoning_tokens`` of the completion were reasoning; ``queue_seconds`` is how long the request
    waited for a slot."""

    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    queue_seconds: float = 0.0


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The request failed: a JanError in a form that can cross to another thread or process."""

    kind: str
    message: str
    code: str
    param: str | None = None
    headers: dict[str, str] = {}

    @staticmethod
    def of(error: JanError) -> "Failed":
        """Describe an error for another thread or process."""
        kinds = [base.__name__ for base in type(error).__mro__ if base.__name__ in _ERRORS]
        return Failed(
            kind=kinds[0] if kinds else InternalError.__name__,
            message=error.message,
            code=error.code,
            param=error.param,
            headers=dict(error.headers),
        )

    def error(self) -> JanError:
        """Make the error anew, without the frames that it went through."""
        return _ERRORS[self.kind](self.message, code=self.code, param=self.param, headers=self.headers)


Event = Started | Queued | Delta | Finished | Failed
#: Takes what came of one request since the last call, in order, and ``perf_counter``'s time of the delivery. It is
#: called on the event loop and must not raise.
Receiver = Callable[[list[Event], float], None]
