"""The events of a response that is made in the background, made from its stored message.

They depend on the message alone. So they are the same whenever and wherever they are made, and have the same
numbers.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from handlers.openai.responses.namespaces import ServedTools
from handlers.openai.responses.response_translator import ResponseTranslator
from handlers.openai.responses.shown_items import progress_status
from jan.background.retelling import Dropped, Retelling, Told, ToldCall
from jan.background.story import story_of
from jan.engine.base import PromptNotes, Started
from jan.errors import JanError
from jan.handler import TypedFrames
from jan.schema.response_events import (
    OutputItemDropped,
    ResponseCompleted,
    ResponseCreated,
    ResponseErrorEvent,
    ResponseEvent,
    ResponseFailed,
    ResponseIncomplete,
    ResponseInProgress,
    ResponseQueued,
)
from jan.schema.response_items import ItemStatus, OutputItem
from jan.schema.responses import Response, ResponseStatus
from jan.storage.records import MessageRecord


class NumberedFrames(TypedFrames):
    """Encodes events that have their numbers already. ``after``: the number of the last one that is known."""

    __slots__ = ("_number",)

    last = b""

    def __init__(self, after: int) -> None:
        self._number = max(after, 0)

    def each(self, event: Any) -> list[bytes]:
        """Encode an event, or a list of them, as frames."""
        if isinstance(event, list):
            return [frame for one in event for frame in self.each(one)]
        self._number = max(self._number, event.sequence_number)
        return super().each(event)

    def error(self, error: JanError) -> bytes:
        """Encode an error that ends the stream, but not the response. It has the number of the event before it."""
        said = ResponseErrorEvent(
            code=error.code, message=error.message, param=error.param, sequence_number=self._number
        )
        return b"".join(self.each(said))


class _Retold(ResponseTranslator):
    """A translator of what is told again."""

    #: The place of the latest call among those of the answer.
    number = 0
    # Items that began and are not in the output.
    _dropped = 0

    def drop(self) -> OutputItemDropped:
        """Leave the item that is open out of the output. Makes the event that says so."""
        item, self._open = self._open, None
        assert item is not None  # only such items are dropped
        self._dropped += 1
        return OutputItemDropped(item_id=item.whole("incomplete").id, output_index=self._at - 1)

    def items(self, last: ItemStatus) -> list[OutputItem]:
        """Return the items so far, the open one with the status ``last``."""
        return self._done if self._open is None else [*self._done, self._open.whole(last)]

    @property
    def _at(self) -> int:
        return super()._at + self._dropped

    def _call_id(self, _number: int) -> str:
        return super()._call_id(self.number)


class ToldResponse:
    """One response, told from its beginning. ``encrypt``: that of ResponseTranslator."""

    def __init__(self, response: Response, encrypt: Callable[[str], str] | None = None) -> None:
        served = ServedTools(response.tools)
        custom = frozenset(str(tool.get("name")) for tool in served.tools if tool["type"] == "custom")
        self._response = msgspec.structs.replace(response, output=[])
        self._translator = _Retold(
            self._response, custom=custom, with_logprobs=False, encrypt=encrypt, namespaced=served.namespaced
        )
        self._retelling = Retelling()
        self._number = 0
        self._created = self._begun = False

    def news(self, answer: MessageRecord) -> list[ResponseEvent]:
        """Return the events that are new since the last time, with their numbers, but not those of the end."""
        story = story_of(answer)
        assert story is not None  # it is made in the background
        made: list[ResponseEvent] = []
        if not self._created:
            self._created = True
            made += [ResponseCreated(response=self._as("queued")), ResponseQueued(response=self._as("queued"))]
        if story.begun and not self._begun:
            self._begun = True
            notes = PromptNotes(call_ids=story.call_ids)
            self._translator.make(0, Started(prompt_tokens=story.prompt_tokens, notes=notes))
            made.append(ResponseInProgress(response=self._as("in_progress")))
        for told in self._retelling.news(answer, story):
            made += self._events_of(told)
        return self._numbered(made)

    def end(self, answer: MessageRecord, shown: Response) -> list[ResponseEvent]:
        """Return the events of the end. ``shown``: the whole response."""
        made = self._ended(answer)
        story = story_of(answer)
        if shown.status == "failed":
            if story is not None and (error := story.error) is not None:
                made.append(ResponseErrorEvent(code=error.code, message=error.message, param=error.param))
            made.append(ResponseFailed(response=shown))
        elif shown.status == "completed":
            made.append(ResponseCompleted(response=shown))
        else:
            made.append(ResponseIncomplete(response=shown))
        return self._numbered(made)

    def output(self, answer: MessageRecord) -> list[OutputItem]:
        """Return the items of the response so far."""
        self.news(answer)
        if answer.status != "streaming":
            self._ended(answer)
        return self._translator.items("in_progress")

    def _ended(self, answer: MessageRecord) -> list[ResponseEvent]:
        rest = [event for told in self._retelling.end(answer) for event in self._events_of(told)]
        return rest + self._translator.end(progress_status(answer), complete=answer.status == "complete")

    def _events_of(self, told: Told) -> list[ResponseEvent]:
        if isinstance(told, Dropped):
            return [self._translator.drop()]
        if isinstance(told, ToldCall):
            self._translator.number = told.number
            told = told.delta
        return self._translator.make(0, told)

    def _as(self, status: ResponseStatus) -> Response:
        return msgspec.structs.replace(self._response, status=status)

    def _numbered(self, events: list[ResponseEvent]) -> list[ResponseEvent]:
        for event in events:
            event.sequence_number, self._number = self._number, self._number + 1
        return events
