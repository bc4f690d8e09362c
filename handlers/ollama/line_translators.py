"""Ollama's answers on the wire: an engine's events as lines of JSON, and collected answers as whole ones."""

from collections.abc import Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, ClassVar

import msgspec
from msgspec import UNSET

from handlers.openai.chat.tool_forms import arguments_of
from handlers.openai.reports import Reports
from jan.engine.base import Delta, Finished, Queued, Started, ToolCallFragment
from jan.engine.call_ids import CallIds, call_id
from jan.errors import JanError
from jan.handler import CollectedAnswer, CollectedAnswers, Frames, TextForm, TokenCount
from jan.schema.ollama import (
    OllamaAnswered,
    OllamaCalled,
    OllamaChatAnswer,
    OllamaError,
    OllamaGenerateAnswer,
    OllamaToolCall,
)
from jan.schema.sampling import FinishReason, TokenLogprob

_REPORTS = Reports()
_NANOSECONDS = 1_000_000_000

Line = OllamaChatAnswer | OllamaGenerateAnswer


def error_of(error: JanError) -> OllamaError:
    """Return an error in Ollama's form, with our code and the wrong field of the request."""
    return OllamaError(error=error.message, code=error.code, param=error.param)


class LineFrames(Frames):
    """Encodes events as lines of JSON. Nothing is sent during silence, because clients read every line."""

    __slots__ = ()

    headers: ClassVar[tuple[tuple[str, str], ...]] = (
        ("Content-Type", "application/x-ndjson"),
        ("Cache-Control", "no-store"),
        ("X-Accel-Buffering", "no"),
    )
    last = b""
    keep_alive = b""

    def each(self, event: Any) -> list[bytes]:
        """Encode an event, or a list of them, as lines."""
        if isinstance(event, list):
            return [line for one in event for line in self.each(one)]
        return [msgspec.json.encode(event) + b"\n"]

    def text(self, form: TextForm[Any], text: str) -> bytes:
        """Encode an event of this form with a text as a line."""
        return b"%b%b%b\n" % (form.before, msgspec.json.encode(text), form.after)

    def texts(self, form: TextForm[Any], texts: Sequence[str]) -> list[bytes]:
        """Encode several events of this form as lines."""
        return [self.text(form, text) for text in texts]

    def queued(self, event: Queued) -> bytes:
        """Send nothing for a place in the queue."""
        return b""

    def error(self, error: JanError) -> bytes:
        """Encode the line that ends a stream early."""
        return msgspec.json.encode(error_of(error)) + b"\n"


class LineTranslator:
    """Translates the answer to one request into Ollama's lines. The base of both kinds.

    ``began``: the request's arrival by ``perf_counter``. ``shows_thinking``: the answer has the model's reasoning.
    """

    def __init__(self, model: str, began: float, *, seed: str, shows_thinking: bool) -> None:
        self._model = model
        self._began = began
        self._seed = seed
        self._shows_thinking = shows_thinking
        self._call_ids: CallIds = "call"
        self._calls: list[list[str]] = []
        self._reason: FinishReason = "stop"

    def line(self, answered: OllamaAnswered, **others: Any) -> Line:
        """Make a line of new content; ``others``: fields of the last line."""
        raise NotImplementedError

    # --- streamed -----------------------------------------------------------------------------------

    def frames(self) -> LineFrames:
        """Make the encoder of lines."""
        return LineFrames()

    def text_form(self, _index: int) -> TextForm[Line] | None:
        """Make the form of lines that have only new text."""
        return TextForm(self._with_text)

    def _with_text(self, text: str) -> Line:
        return self.line(OllamaAnswered(content=text), done=False)

    def make(self, _index: int, event: Started | Delta | Finished) -> list[Line]:
        """Make the lines for an event of the engine."""
        if isinstance(event, Started):
            self._call_ids = event.notes.call_ids
            return []
        if isinstance(event, Finished):
            self._reason = event.reason
            return self._complete_calls(len(self._calls))
        made: list[Line] = []
        thinking = event.reasoning if self._shows_thinking and event.reasoning else UNSET
        if event.text or thinking or event.logprobs:
            logprobs = _REPORTS.named(event.logprobs) if event.logprobs else UNSET
            answered = OllamaAnswered(content=event.text, thinking=thinking)
            made.append(self.line(answered, done=False, logprobs=logprobs))
        for fragment in event.tool_calls:
            made += self._add(fragment)
        return made

    def _add(self, fragment: ToolCallFragment) -> list[Line]:
        """Add a piece of a call. A call is sent when it is complete."""
        made: list[Line] = []
        while len(self._calls) <= fragment.index:
            made += self._complete_calls(len(self._calls))
            self._calls.append(["", ""])
        call = self._calls[fragment.index]
        call[0] += fragment.name
        call[1] += fragment.arguments
        return made

    def _complete_calls(self, count: int) -> list[Line]:
        """Make the line of the newest call, which is complete, if there is one."""
        if not count:
            return []
        name, arguments = self._calls[count - 1]
        call = self._called(count - 1, name, arguments)
        return [self.line(OllamaAnswered(tool_calls=[call]), done=False)]

    def last(self, count: TokenCount) -> Line:
        """Make the last line, with counts and times."""
        return self.line(OllamaAnswered(), **self._end(self._reason, count))

    # --- whole --------------------------------------------------------------------------------------

    def whole(self, answers: CollectedAnswers, count: TokenCount) -> Line:
        """Make the whole answer."""
        answer: CollectedAnswer = answers.answers[0]
        self._call_ids = answer.call_ids
        calls = [self._called(at, call.name, call.arguments) for at, call in enumerate(answer.calls)]
        thinking = answer.reasoning if self._shows_thinking and answer.reasoning else UNSET
        answered = OllamaAnswered(content=answer.text, thinking=thinking, tool_calls=calls or UNSET)
        logprobs: list[TokenLogprob] | Any = _REPORTS.named(answer.logprobs) if answer.logprobs else UNSET
        return self.line(answered, **self._end(answer.reason or "stop", count), logprobs=logprobs)

    # --- parts --------------------------------------------------------------------------------------

    def _called(self, number: int, name: str, arguments: str) -> OllamaToolCall:
        own = call_id(self._call_ids, f"{self._seed} {number}")
        return OllamaToolCall(
            id=own, function=OllamaCalled(index=number, name=name, arguments=arguments_of(arguments))
        )

    def _end(self, reason: FinishReason, count: TokenCount) -> dict[str, Any]:
        now, progress, usage = perf_counter(), count.sequences[0], count.usage
        first = now if progress.first_at is None else progress.first_at
        return {
            "done": True,
            "done_reason": "length" if reason == "length" else "stop",
            "total_duration": _nanoseconds(now - self._began),
            "load_duration": 0,
            "prompt_eval_count": usage.prompt_tokens,
            "prompt_eval_duration": _nanoseconds(first - self._began),
            "eval_count": usage.completion_tokens,
            "eval_duration": _nanoseconds(now - first),
        }


class ChatLines(LineTranslator):
    """Lines of a chat."""

    def line(self, answered: OllamaAnswered, **others: Any) -> OllamaChatAnswer:
        """Make a line of new content; ``others``: fields of the last line."""
        return OllamaChatAnswer(model=self._model, created_at=moment(), message=answered, **others)


class GenerationLines(LineTranslator):
    """Lines of a completion."""

    def line(self, answered: OllamaAnswered, **others: Any) -> OllamaGenerateAnswer:
        """Make a line of new text; ``others``: fields of the last line."""
        return OllamaGenerateAnswer(
            model=self._model,
            created_at=moment(),
            response=answered.content,
            thinking=answered.thinking,
            **others,
        )


def moment(at: datetime | None = None) -> str:
    """Return a time, by default now, as Ollama writes it."""
    return (at or datetime.now(UTC)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _nanoseconds(seconds: float) -> int:
    return max(0, round(seconds * _NANOSECONDS))
