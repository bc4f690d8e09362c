"""Responses on the wire: an engine's events as those of OpenAI's Responses API, and answers as whole responses."""

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec
from msgspec import UNSET

from handlers.openai.chat.tool_forms import input_of
from handlers.openai.reports import Reports
from handlers.openai.responses.item_ids import item_id
from handlers.openai.responses.open_item import CallItem, OpenItem, ReasoningItem, TextItem
from handlers.openai.responses.response_frames import ResponseFrames
from handlers.openai.responses.shown_items import CUT, answer_items
from jan.engine.base import Delta, Finished, Started, ToolCallFragment
from jan.engine.call_ids import CallIds, call_id
from jan.errors import InvalidRequest, JanError, RateLimited
from jan.handler import CollectedAnswer, CollectedAnswers, CollectedCall, NewBlock, TextForm, TokenCount
from jan.schema.response_events import (
    OutputTextDelta,
    ResponseBlock,
    ResponseCompleted,
    ResponseCreated,
    ResponseErrorEvent,
    ResponseEvent,
    ResponseFailed,
    ResponseIncomplete,
    ResponseInProgress,
)
from jan.schema.response_items import ItemStatus, OutputItem
from jan.schema.responses import (
    FailureCode,
    Incompleteness,
    InputDetails,
    OutputDetails,
    Response,
    ResponseError,
    ResponseUsage,
)
from jan.schema.sampling import FinishReason, Usage
from jan.schema.stored_items import (
    AnyCall,
    NamespacedName,
    StoredCall,
    StoredCustomCall,
    StoredItems,
    items_of_answer,
)

_REPORTS = Reports()
_NO_NAMES: Mapping[str, dict[str, str]] = MappingProxyType({})


class ResponseTranslator:
    """Translates the answer to one request into a response.

    ``response``: the response before its output. ``custom``: names of tools whose argument is a text.
    ``with_logprobs``: the text has log probabilities. ``encrypt``: encrypts the reasoning for the client to keep;
    None if that is not asked for. ``namespaced``: that of ``ServedTools``.
    """

    #: Reasoning or a call ends a message.
    parts_text = True

    def __init__(
        self,
        response: Response,
        *,
        custom: frozenset[str],
        with_logprobs: bool,
        encrypt: Callable[[str], str] | None = None,
        namespaced: Mapping[str, dict[str, str]] = _NO_NAMES,
    ) -> None:
        self.response = response
        self._encrypt = encrypt
        self._custom = custom
        self._namespaced = namespaced
        self._with_logprobs = with_logprobs
        self._call_ids: CallIds = "call"
        self._done: list[OutputItem] = []
        self._open: OpenItem | None = None
        self._texts: list[TextItem] = []
        self._call = -1
        self._reason: FinishReason = "stop"

    # --- streamed -----------------------------------------------------------------------------------

    def frames(self) -> ResponseFrames:
        """Make the encoder of the events."""
        return ResponseFrames(lambda: self.open_texts, self.failed)

    def text_form(self, _index: int) -> TextForm[OutputTextDelta] | None:
        """Make the form of new text of the item that is open; None if that is something else."""
        item = self._open
        return TextForm(item.delta_of) if isinstance(item, TextItem) and not self._with_logprobs else None

    @property
    def open_texts(self) -> list[str]:
        """The texts of the item that is open. Those whose events a form makes are added to it."""
        assert isinstance(self._open, TextItem)  # only this has a form
        return self._open.texts

    def make(self, _index: int, event: Started | Delta | Finished) -> list[ResponseEvent]:
        """Make the events for an event of the engine."""
        if isinstance(event, Started):
            self._call_ids = event.notes.call_ids
            return [ResponseCreated(response=self._now()), ResponseInProgress(response=self._now())]
        if isinstance(event, Finished):
            self._reason = event.reason
            return self.end("incomplete" if event.reason in CUT else "completed")
        return [one for part in event.parts or (event,) for one in self._of_part(part)]

    def _of_part(self, part: Delta) -> list[ResponseEvent]:
        made: list[ResponseEvent] = []
        ended, begun = part.calls_from(self._call)
        for fragment in ended:
            made += self._of_call(fragment)
        if part.reasoning:
            made += self._in(ReasoningItem, "rs")
            assert self._open is not None  # just opened
            made += self._open.add(part.reasoning, [])
        if part.text:
            made += self._in(TextItem, "msg")
            assert self._open is not None  # just opened
            made += self._open.add(part.text, _REPORTS.named(part.logprobs))
        for fragment in begun:
            made += self._of_call(fragment)
        return made

    def _of_call(self, fragment: ToolCallFragment) -> list[ResponseEvent]:
        made: list[ResponseEvent] = []
        if fragment.index != self._call:
            self._call = fragment.index
            made += self._close("completed")
            custom = fragment.name in self._custom
            item = CallItem(
                self._item_id("ctc" if custom else "fc"),
                self._at,
                call=self._call_id(fragment.index),
                names=self._namespaced.get(fragment.name) or {"name": fragment.name},
                custom=custom,
            )
            self._open = item
            made += item.begin()
        assert self._open is not None  # opened by the first fragment of the call
        return made + (self._open.add(fragment.arguments, []) if fragment.arguments else [])

    def _in(self, kind: type[TextItem] | type[ReasoningItem], prefix: str) -> list[ResponseEvent]:
        """Begin an item, unless one of this kind is open. Its id begins with ``prefix``."""
        if isinstance(self._open, kind):
            return []
        made = self._close("completed")
        own, at = self._item_id(prefix), self._at
        item = ReasoningItem(own, at, self._encrypt) if kind is ReasoningItem else TextItem(own, at)
        self._open = item
        if isinstance(item, TextItem):
            self._texts.append(item)
        return [*made, *item.begin()]

    def _close(self, status: ItemStatus) -> list[ResponseEvent]:
        """End the item that is open, if any."""
        item, self._open = self._open, None
        if item is None:
            return []
        made = item.end(status)
        self._done.append(item.whole(status))
        return made

    def block(self, _index: int, part: int, block: NewBlock) -> ResponseBlock:
        """Make the event of a block of the message with this number."""
        return self._texts[part].block_of(block)

    def last(self, count: TokenCount) -> list[ResponseEvent]:
        """Make the last event: the whole response."""
        ended = self._ended(self._done, self._reason, count.usage)
        return [
            ResponseIncomplete(response=ended)
            if ended.status == "incomplete"
            else ResponseCompleted(response=ended)
        ]

    def failed(self, error: JanError) -> list[ResponseEvent]:
        """Make the events of a response that an error ended."""
        made = self._close("incomplete")
        response = self._now()
        response.status, response.output = "failed", self._done
        response.error = failure_of(error)
        said = ResponseErrorEvent(code=error.code, message=error.message, param=error.param)
        return [*made, said, ResponseFailed(response=response)]

    def end(self, status: ItemStatus, *, complete: bool = True) -> list[ResponseEvent]:
        """Make the events that end the last item. A complete answer without anything has an empty message."""
        made = self._in(TextItem, "msg") if complete and not (self._done or self._open) else []
        return [*made, *self._close(status)]

    # --- whole --------------------------------------------------------------------------------------

    def whole(self, answers: CollectedAnswers, count: TokenCount) -> Response:
        """Make the whole response from the collected answer."""
        answer = answers.answers[0]
        reason = answer.reason or "stop"
        return self._ended(self.output_of(answer, reason), reason, count.usage)

    def output_of(self, answer: CollectedAnswer, reason: FinishReason) -> list[OutputItem]:
        """Return the items of an answer so far."""
        return answer_items(
            self.response.id,
            self.stored_items(answer),
            last="incomplete" if reason in CUT else "completed",
            logprobs=_REPORTS.named(answer.logprobs),
            encrypt=self._encrypt,
        )

    def stored_items(self, answer: CollectedAnswer) -> StoredItems:
        """Return the items of an answer so far, as they are stored."""
        calls = [self.stored_call(number, call, answer.call_ids) for number, call in enumerate(answer.calls)]
        return items_of_answer(answer.reasoning, answer.text, calls)

    def stored_call(self, number: int, call: CollectedCall, call_ids: CallIds) -> AnyCall:
        """Return one call of an answer, as it is stored."""
        self._call_ids = call_ids
        own, names = self._call_id(number), self._namespaced.get(call.name)
        namespaced = UNSET if names is None else NamespacedName(**names)
        if call.name in self._custom:
            text = input_of(call.arguments)
            return StoredCustomCall(id=own, name=call.name, input=text, namespaced=namespaced)
        return StoredCall(id=own, name=call.name, arguments=call.arguments, namespaced=namespaced)

    # --- parts --------------------------------------------------------------------------------------

    def _now(self) -> Response:
        return msgspec.structs.replace(self.response)

    @property
    def _at(self) -> int:
        """The number of the next item."""
        return len(self._done) + (self._open is not None)

    def _item_id(self, prefix: str) -> str:
        return item_id(prefix, self.response.id, self._at)

    def _call_id(self, number: int) -> str:
        return call_id(self._call_ids, f"{self.response.id} {number}")

    def _ended(self, output: list[OutputItem], reason: FinishReason, usage: Usage) -> Response:
        response = self._now()
        response.output = output
        response.usage = usage_of(usage)
        if reason not in CUT:
            response.status, response.completed_at = "completed", int(time.time())
        else:
            response.status = "incomplete"
            response.incomplete_details = incompleteness(reason)
        return response


def failure_of(error: JanError) -> ResponseError:
    """Return an error as the reason of a failed response."""
    code: FailureCode = "server_error"
    if isinstance(error, RateLimited):
        code = "rate_limit_exceeded"
    elif isinstance(error, InvalidRequest):
        code = "invalid_prompt"
    return ResponseError(code=code, message=error.message)


def incompleteness(reason: str) -> Incompleteness:
    """Return the reason of an end that leaves a response incomplete, as responses name it."""
    return Incompleteness(reason="max_output_tokens" if reason == "length" else "content_filter")


def usage_of(usage: Usage) -> ResponseUsage:
    """Return token counts in the form of responses."""
    return ResponseUsage(
        input_tokens=usage.prompt_tokens,
        input_tokens_details=InputDetails(cached_tokens=usage.prompt_tokens_details.cached_tokens),
        output_tokens=usage.completion_tokens,
        output_tokens_details=OutputDetails(reasoning_tokens=usage.reasoning_tokens),
        total_tokens=usage.total_tokens,
    )
