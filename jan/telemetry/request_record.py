"""The record of a request for metrics, log and traces, and the contract of tracing."""

from typing import Any, Protocol

import msgspec

from jan.engine.base import Event, Finished, Started
from jan.generation.token_count import TokenCount, UsedTokens
from jan.telemetry.metrics import ModelMetrics


class GenerationRecord:
    """The progress of a generation.

    Times are by ``perf_counter``. Of several answers, ``accepted_at`` and ``first_at`` are the first one's, and
    ``queue_seconds`` is the longest wait for a slot. ``asked_for`` is the request's name for ``model``. ``count``
    counts its tokens.
    """

    def __init__(
        self,
        *,
        asked_for: str,
        model: str,
        is_chat: bool,
        metrics: ModelMetrics,
        began: float,
        count: TokenCount,
    ) -> None:
        self.asked_for = asked_for
        self.is_chat = is_chat
        self.model = model
        self.began = began
        self.accepted_at: float | None = None
        self.first_at: float | None = None
        self.ended_at: float | None = None
        self.queue_seconds: float | None = None
        self.finish_reasons: dict[int, str] = {}
        #: The times between two tokens, of all answers of the model.
        self.between_tokens = metrics.between_tokens
        self._metrics = metrics
        self._count = count

    @property
    def used(self) -> UsedTokens:
        """The tokens counted so far, as they are accounted for."""
        return self._count.used or UsedTokens()

    def note(self, index: int, first: Event, tokens: int, finished: Finished | None, at: float) -> None:
        """Note a delivery to the answer at ``index``: its ``first`` event, the number of tokens, and its end."""
        if self.accepted_at is None and isinstance(first, Started):
            self.accepted_at = at
        self._note_tokens(index, tokens, at)
        if finished is not None:
            self._note_end(index, finished, at)

    def _note_tokens(self, index: int, tokens: int, now: float) -> None:
        if not tokens:
            return
        sequence = self._count.sequences[index]
        if sequence.first_at is not None:
            # If the client is slower than the model, several tokens come as one.
            self.between_tokens.observe((now - sequence.last_at) / tokens)
            sequence.last_at = now
            return
        sequence.first_at = sequence.last_at = now
        sequence.first_tokens = tokens
        if self.first_at is None:
            self.first_at = now
            self._metrics.first_token.observe(now - self.began)

    def _note_end(self, index: int, finished: Finished, now: float) -> None:
        self.ended_at = now
        self.finish_reasons[index] = finished.reason
        self.queue_seconds = max(self.queue_seconds or 0.0, finished.queue_seconds)
        sequence = self._count.sequences[index]
        later = finished.completion_tokens - sequence.first_tokens
        if sequence.first_at is not None and later > 0:
            self._metrics.speed.observe(later / max(now - sequence.first_at, 1e-6))

    def log_fields(self) -> dict[str, Any]:
        """Return fields for the request's line in the log: tokens, and the waits for its slot and its first
        token."""
        used = self.used
        fields: dict[str, Any] = {
            "model": self.model,
            "prompt_tokens": used.prompt,
            "completion_tokens": used.completion,
            "cached_tokens": used.cached,
        }
        if self.queue_seconds is not None:
            fields["queue_ms"] = round(self.queue_seconds * 1000)
        if self.first_at is not None:
            fields["first_token_ms"] = round((self.first_at - self.began) * 1000)
        return fields


class RequestRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A request that has ended.

    - ``route``: the template of its URL.
    - ``error``: the code of its error, including one inside a stream.
    - ``trace_parent``, ``trace_state``: the client's headers of W3C Trace Context.
    - ``began``: its arrival by ``perf_counter``.
    """

    request_id: str
    method: str
    scheme: str
    route: str
    status: int
    began: float
    error: str | None
    client_left: bool
    trace_parent: str | None
    trace_state: str | None
    generation: GenerationRecord | None


class Tracing(Protocol):
    """The destination of traces, if tracing is configured."""

    def record(self, request: RequestRecord) -> str:
        """Record a request that has ended; return its trace's id. Never raises if the collector can't be
        reached."""
        ...

    async def close(self) -> None:
        """Send what is left, as far as possible within seconds."""
        ...
