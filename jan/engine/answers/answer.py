"""One running answer: turns token bytes into reasoning, text, tool calls, and the end."""

from jan.engine.answers.reasoning import splitter_of
from jan.engine.answers.text import TextAssembler
from jan.engine.answers.tool_calls import ToolCallReader
from jan.engine.base import Delta, Finished, GenerationRequest, Output
from jan.engine.prompts.dialects import PLAIN, Dialect
from jan.schema.sampling import FinishReason, TokenLogprob


class Answer:
    """Turns the tokens of one answer into outputs. Stop strings and tool calls count only in the content.

    Usage::

        outputs = answer.add(pieces[token])  # for each token, until the last output is Finished
        outputs = answer.end("stop")  # instead, after a stop token

    Args:
        request: the request that is answered.
        prompt_tokens: length of the prompt in tokens.
        limit: most tokens of the answer; the last one ends it.
        dialect: how the model writes reasoning and tool calls.
    """

    __slots__ = (
        "_calls",
        "_count",
        "_limit",
        "_logprobs",
        "_plain",
        "_prompt_tokens",
        "_reasoning",
        "_reasoning_tokens",
        "_shown_stops",
        "_splitter",
        "_straight",
        "_text",
        "cached_tokens",
    )

    def __init__(
        self, request: GenerationRequest, prompt_tokens: int, limit: int, dialect: Dialect = PLAIN
    ) -> None:
        self._splitter = splitter_of(PLAIN if request.inline_reasoning else dialect)
        self._reasoning = TextAssembler()
        self._text = TextAssembler(request.stop, include_stop=request.include_stop)
        self._shown_stops = frozenset(request.stop_tokens) if request.include_stop else frozenset()
        self._calls = _reader_of(request, dialect)
        # True if a token of content is text and nothing else.
        self._plain = self._calls is None and not request.stop
        # True once that is so for all following tokens.
        self._straight = False
        self._prompt_tokens = prompt_tokens
        self._limit = limit
        self._count = self._reasoning_tokens = 0
        # Log probabilities of tokens that may still turn out to be reasoning or content.
        self._logprobs: list[TokenLogprob] = []
        self.cached_tokens = 0

    @property
    def exhausted(self) -> bool:
        """True if the limit of tokens is reached."""
        return self._count >= self._limit

    def shows_stop(self, token: int) -> bool:
        """Return True if the text of this stop token is part of the answer."""
        return token in self._shown_stops

    def add(self, data: bytes, logprob: TokenLogprob | None = None) -> list[Output]:
        """Add a token's bytes. The last output is Finished if a stop string or the limit ended the answer."""
        self._count += 1
        if self._straight and logprob is None and self._count < self._limit:
            return [Delta(text=self._text.decode(data), tokens=1)]
        if self._splitter.content_only:
            self._straight = self._plain
            text, logprobs = self._text.push(data, logprob)
            delta = self._delta(text, logprobs, 1)
        else:
            delta = self._split(data, logprob).merge(Delta(tokens=1))
        if self._text.stopped:
            return [delta, *self.end("stop")]
        return [delta, *self.end("length")] if self.exhausted else [delta]

    def end(self, reason: FinishReason) -> list[Output]:
        """End the answer; returns the text that was held back, if any, and Finished."""
        delta = self._flush()
        if self._calls is not None:
            delta = delta.merge(self._calls.flush())
            # A call that a stop string cut off must not be carried out.
            if self._calls.calls and not self._calls.inside and reason == "stop":
                reason = "tool_calls"
        finished = Finished(
            reason=reason,
            stop_string=self._text.stop_string,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._count,
            cached_tokens=self.cached_tokens,
            reasoning_tokens=self._reasoning_tokens,
        )
        return [delta, finished] if delta else [finished]

    def _split(self, data: bytes, logprob: TokenLogprob | None) -> Delta:
        """Split a token that may be reasoning, content or both."""
        if logprob is not None:
            self._logprobs.append(logprob)
        was_inside = self._splitter.inside
        reasoning, content = self._splitter.push(data)
        if was_inside or reasoning or self._splitter.inside:
            self._reasoning_tokens = self._count
        delta = Delta(reasoning=self._reasoning.push(reasoning)[0])
        if self._splitter.content_only:
            return delta.merge(Delta(reasoning=self._reasoning.flush()[0])).merge(self._content(content))
        if content:
            return delta.merge(self._content(content))
        return delta.merge(Delta(logprobs=self._take_logprobs())) if reasoning else delta

    def _flush(self) -> Delta:
        if self._straight:
            return self._delta(*self._text.flush())
        reasoning, content = self._splitter.flush()
        text = self._reasoning.push(reasoning)[0] + self._reasoning.flush()[0]
        delta = Delta(reasoning=text).merge(self._content(content))
        return delta.merge(self._delta(*self._text.flush()))

    def _content(self, content: bytes) -> Delta:
        """Add content, with the log probabilities of all tokens that it may have begun in."""
        first, *others = self._take_logprobs() or (None,)
        text, logprobs = self._text.push(content, first)
        for other in others:
            if not self._text.stopped:
                logprobs += self._text.push(b"", other)[1]
        return self._delta(text, logprobs)

    def _take_logprobs(self) -> tuple[TokenLogprob, ...]:
        taken, self._logprobs = tuple(self._logprobs), []
        return taken

    def _delta(self, text: str, logprobs: tuple[TokenLogprob, ...], tokens: int = 0) -> Delta:
        """Return a delta of text, or of the tool calls in it."""
        if self._calls is None:
            return Delta(text=text, logprobs=logprobs, tokens=tokens)
        return self._calls.push(text).merge(Delta(logprobs=logprobs, tokens=tokens))


def _reader_of(request: GenerationRequest, dialect: Dialect) -> ToolCallReader | None:
    output = request.output
    if not output.callable_tools:
        return None
    return ToolCallReader(dialect.calls, output.callable_tools, output.must_call)
