"""Answers assembled from their events: for whole answers, for the store, and for observers of the end."""

from collections.abc import Sequence

import msgspec

from jan.engine.base import Delta, Event, Finished, Started, ToolCallFragment
from jan.engine.call_ids import CallIds
from jan.schema.sampling import FinishReason, TokenLogprob


class CollectedCall(msgspec.Struct):
    """One tool call: the function's name, and its arguments as the JSON that the model wrote."""

    name: str
    arguments: str = ""


class CollectedAnswer:
    """The answer of one sequence so far."""

    def __init__(self) -> None:
        #: The text of the prompt, if the request has ``echo``.
        self.prompt_text = ""
        self.calls: list[CollectedCall] = []
        #: The form of the ids of ``calls``.
        self.call_ids: CallIds = "call"
        #: The fingerprint of the model, '' if it has none.
        self.fingerprint = ""
        self.logprobs: list[TokenLogprob] = []
        #: Token ids of the prompt and of the answer, if the request wants them.
        self.prompt_ids: tuple[int, ...] = ()
        self.token_ids: list[int] = []
        #: Log probabilities of the prompt's tokens, if the request wants them.
        self.prompt_logprobs: tuple[TokenLogprob, ...] = ()
        #: The vectors of the texts of an EmbeddingPrompt, each little-endian float32 [dimensions], or the scores
        #: of a PairPrompt, each float32 [1].
        self.vectors: tuple[bytes, ...] = ()
        #: Tokens of the prompt, known at the end.
        self.prompt_tokens = 0
        #: The reason why the answer ended; None before its end.
        self.reason: FinishReason | None = None
        #: The stop string that ended it, '' if none did.
        self.stop_string = ""
        self._text: list[str] = []
        self._reasoning: list[str] = []

    @property
    def text(self) -> str:
        """The content of the answer so far."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """The model's reasoning before the answer."""
        return "".join(self._reasoning)

    def add(self, event: Event) -> None:
        """Add an event of this sequence."""
        if isinstance(event, Delta):
            self._add_delta(event)
        elif isinstance(event, Finished):
            self.reason, self.stop_string = event.reason, event.stop_string
            self.vectors, self.prompt_tokens = event.vectors, event.prompt_tokens
        elif isinstance(event, Started):
            self.prompt_text, self.prompt_ids = event.prompt_text, event.prompt_ids
            self.call_ids, self.fingerprint = event.notes.call_ids, event.fingerprint

    def _add_delta(self, delta: Delta) -> None:
        self.logprobs += delta.logprobs
        self.token_ids += delta.token_ids
        self.prompt_logprobs += delta.prompt_logprobs
        if delta.text:
            self._text.append(delta.text)
        if delta.reasoning:
            self._reasoning.append(delta.reasoning)
        for fragment in delta.tool_calls:
            self._add_call(fragment)

    def _add_call(self, fragment: ToolCallFragment) -> None:
        if fragment.name:
            self.calls.append(CollectedCall(fragment.name))
        self.calls[fragment.index].arguments += fragment.arguments


class CollectedAnswers:
    """The answers of all sequences of a request."""

    def __init__(self, count: int) -> None:
        self.answers = tuple(CollectedAnswer() for _ in range(count))

    def add(self, index: int, events: Sequence[Event]) -> None:
        """Add events of the sequence at ``index``."""
        answer = self.answers[index]
        for event in events:
            answer.add(event)
