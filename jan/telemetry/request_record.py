"""What there is to see of a request, for metrics, log and traces; and what sends traces."""

from typing import Any, Protocol

import msgspec

from jan.engine.base import Event, Finished, Started
from jan.generation.token_count import TokenCount, UsedTokens
from jan.telemetry.metrics import ModelMetrics


class _SequenceTimes:
    """One of the request's answers: when its tokens came out."""

    def __init__(self, at: float, tokens: int) -> None:
        self.first_at = self.last_at = at
        self.first_tokens = tokens


class GenerationRecord:
    """What a request generates, as it comes out. Times are ``perf_counter``'s; of several answers ``accepted_at``
    and ``first_at`` are the first one's, ``queue_seconds`` is the longest wait for a slot. ``asked_for`` is what
    the request called the ``model``; ``count`` is where its tokens are counted."""

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
        self._metrics = metrics
        self._count = count
        self._sequences: dict[int, _SequenceTimes] = {}

    @property
    def used(self) -> UsedTokens:
        """The tokens as they are accounted for, so far."""
        return self._count.used or UsedTokens()

    def note(self, index: int, first: Event, tokens: int, finished: Finished | None, at: float) -> None:
        """Note what came at once of the answer of this index: its ``first`` event, how many tokens, its end."""
        if self.accepted_at is None and isinstance(first, Started):
            self.accepted_at = at
        if tokens:
            self._note_tokens(index, tokens, at)
        if finished is not None:
            self._note_end(index, finished, at)

    def _note_tokens(self, index: int, tokens: int, now: float) -> None:
        sequence = self._sequences.get(index)
        if sequence is not None:
            # Where the client is slower than the model, several come as one.
            self._metrics.between_tokens.observe((now - sequence.last_at) / tokens)
            sequence.last_at = now
            return
        self._sequences[index] = _SequenceTimes(now, tokens)
        if self.first_at is None:
            self.first_at = now
            self._metrics.first_token.observe(now - self.began)

    def _note_end(self, index: int, finished: Finished, now: float) -> None:
        self.ended_at = now
        self.finish_reasons[index] = finished.reason
        self.queue_seconds = max(self.queue_seconds or 0.0, finished.queue_seconds)
        sequence = self._sequences.get(index)
        if sequence is not None and (later := finished.completion_tokens - sequence.first_tokens) > 0:
            self._metrics.speed.observe(later / max(now - sequence.first_at, 1e-6))

    def log_fields(self) -> dict[str, Any]:
        """For the request's line in the log: tokens, and how long it waited for its slot and the first of them."""
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
    """A request that has ended. ``route`` is the URL's template. ``error``: the code of the error that it met,
    in the middle of a stream too. ``trace_parent`` and ``trace_state`` are the client's headers of W3C's Trace
    Context. ``began`` is ``perf_counter``'s."""

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
    """Where traces go; there is none unless it is configured."""

    def record(self, request: RequestRecord) -> str:
        """Tell of a request that has ended; its trace's id. Never raises for a collector that is away."""
        ...

    async def close(self) -> None:
        """Send what has not been sent yet, as far as that is possible within seconds."""
        ...
