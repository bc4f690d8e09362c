"""The frames of a streamed response: numbered events, texts without a step of Python for each field."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from jan.errors import JanError
from jan.handler import TextForm, TypedFrames
from jan.schema.response_events import ResponseEvent

_NUMBER_AT_END = b"0}"
_encode = msgspec.json.Encoder().encode


class ResponseFrames(TypedFrames):
    """Encodes the events of one response, numbered from 0.

    ``open_texts`` returns the texts of the item that is open. ``failed`` makes the events of an early end.
    """

    __slots__ = ("_after", "_failed", "_form", "_next", "_open_texts", "_texts")

    last = b""

    def __init__(
        self, open_texts: Callable[[], list[str]], failed: Callable[[JanError], list[ResponseEvent]]
    ) -> None:
        super().__init__()
        self._open_texts = open_texts
        self._failed = failed
        self._next = 0
        # The form of the latest text, what is after the text in its frames, and the texts of the item so far.
        self._form: TextForm[Any] | None = None
        self._after = b""
        self._texts: list[str] = []

    def each(self, event: Any) -> list[bytes]:
        """Encode an event, or a list of them, as frames, and number them."""
        if isinstance(event, list):
            return [frame for one in event for frame in self.each(one)]
        event.sequence_number, self._next = self._next, self._next + 1
        return super().each(event)

    def text(self, form: TextForm[Any], text: str) -> bytes:
        """Encode new text as a frame with its number, and add it to the item that is open."""
        if form is not self._form:
            self._begin(form)
        self._texts.append(text)
        self._next = (number := self._next) + 1
        return b"%b%b%b%d}\n\n" % (form.named, _encode(text), self._after, number)

    def texts(self, form: TextForm[Any], texts: Sequence[str]) -> list[bytes]:
        """Encode several new texts as frames, and add them to the item that is open."""
        if form is not self._form:
            self._begin(form)
        self._texts += texts
        named, after, first = form.named, self._after, self._next
        self._next = first + len(texts)
        return [
            b"%b%b%b%d}\n\n" % (named, _encode(text), after, number) for number, text in enumerate(texts, first)
        ]

    def _begin(self, form: TextForm[Any]) -> None:
        # The number is the last member of the event.
        self._form, self._after = form, form.after.removesuffix(_NUMBER_AT_END)
        self._texts = self._open_texts()

    def error(self, error: JanError) -> bytes:
        """Encode the events that end a response early."""
        return b"".join(self.each(self._failed(error)))
