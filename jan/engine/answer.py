"""One answer under way, from token bytes to outputs: text, tool calls, stop strings, the end and why."""

from jan.engine.base import Delta, Finished, GenerationRequest, Output
from jan.engine.text import TextAssembler
from jan.engine.tool_calls import ToolCallParser
from jan.schema.sampling import FinishReason, TokenLogprob


class Answer:
    """Collects the tokens of one answer; ``limit`` is how many there may be."""

    def __init__(self, request: GenerationRequest, prompt_tokens: int, limit: int) -> None:
        self._text = TextAssembler(request.stop)
        self._calls = ToolCallParser(request.output.must_call) if request.output.callable_tools else None
        self._prompt_tokens = prompt_tokens
        self._limit = limit
        self._count = 0
        self.cached_tokens = 0

    @property
    def exhausted(self) -> bool:
        """Whether no more tokens may follow."""
        return self._count >= self._limit

    def add(self, data: bytes, logprob: TokenLogprob | None = None) -> list[Output]:
        """Add a token; the last output is Finished if a stop string or the limit ended the answer."""
        self._count += 1
        text, logprobs = self._text.push(data, logprob)
        delta = self._delta(text).merge(Delta(logprobs=logprobs, tokens=1))
        if self._text.stopped:
            return [delta, *self.end("stop")]
        return [delta, *self.end("length")] if self.exhausted else [delta]

    def end(self, reason: FinishReason) -> list[Output]:
        """Release what was held back, and finish."""
        text, logprobs = self._text.flush()
        delta = self._delta(text).merge(Delta(logprobs=logprobs))
        if self._calls is not None:
            delta = delta.merge(self._calls.flush())
            # A call that a stop string cut off is nothing to be carried out.
            if self._calls.calls and not self._calls.inside and reason == "stop":
                reason = "tool_calls"
        finished = Finished(
            reason=reason,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._count,
            cached_tokens=self.cached_tokens,
        )
        return [delta, finished] if delta else [finished]

    def _delta(self, text: str) -> Delta:
        return Delta(text=text) if self._calls is None else self._calls.push(text)
