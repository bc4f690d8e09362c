"""Events of a streamed response. ``sequence_number`` is given when an event is sent, and comes last in each."""

import msgspec

from jan.schema.response_items import OutputItem, ReasoningContent, TextContent
from jan.schema.responses import Response
from jan.schema.sampling import TokenLogprob

Part = TextContent | ReasoningContent


class _OfResponse(msgspec.Struct, kw_only=True, tag_field="type"):
    """The fields of events that show the whole response."""

    response: Response
    sequence_number: int = 0


class _OfItem(msgspec.Struct, kw_only=True, tag_field="type"):
    """The fields of events that show an item."""

    output_index: int
    item: OutputItem
    sequence_number: int = 0


class _OfPart(msgspec.Struct, kw_only=True, tag_field="type"):
    """The fields of events that show a part of an item."""

    item_id: str
    output_index: int
    content_index: int = 0
    part: Part
    sequence_number: int = 0


class ResponseCreated(_OfResponse, kw_only=True, tag="response.created"):
    """The first event: the response without output."""


class ResponseInProgress(_OfResponse, kw_only=True, tag="response.in_progress"):
    """The model has accepted the response."""


class ResponseCompleted(_OfResponse, kw_only=True, tag="response.completed"):
    """The last event of a complete response."""


class ResponseIncomplete(_OfResponse, kw_only=True, tag="response.incomplete"):
    """The last event of a response that reached its limit."""


class ResponseFailed(_OfResponse, kw_only=True, tag="response.failed"):
    """The last event of a response that an error ended."""


class ResponseErrorEvent(msgspec.Struct, kw_only=True, tag_field="type", tag="error"):
    """An error, before the end of a response that it ends."""

    code: str
    message: str
    param: str | None = None
    sequence_number: int = 0


class ResponseQueued(_OfResponse, kw_only=True, tag="response.queued"):
    """The response waits to be made in the background."""


class OutputItemDropped(msgspec.Struct, kw_only=True, tag_field="type", tag="response.output_item.dropped"):
    """The item at this place was half made when its server ended. It is made anew, in the next place."""

    item_id: str
    output_index: int
    sequence_number: int = 0


class OutputItemAdded(_OfItem, kw_only=True, tag="response.output_item.added"):
    """An item begins, empty."""


class OutputItemDone(_OfItem, kw_only=True, tag="response.output_item.done"):
    """An item is complete."""


class ContentPartAdded(_OfPart, kw_only=True, tag="response.content_part.added"):
    """A part of an item begins, empty."""


class ContentPartDone(_OfPart, kw_only=True, tag="response.content_part.done"):
    """A part of an item is complete."""


class OutputTextDelta(msgspec.Struct, kw_only=True, tag_field="type", tag="response.output_text.delta"):
    """New text of an answer."""

    item_id: str
    output_index: int
    content_index: int = 0
    delta: str
    logprobs: list[TokenLogprob] = []
    sequence_number: int = 0


class OutputTextDone(msgspec.Struct, kw_only=True, tag_field="type", tag="response.output_text.done"):
    """All text of a part."""

    item_id: str
    output_index: int
    content_index: int = 0
    text: str
    logprobs: list[TokenLogprob] = []
    sequence_number: int = 0


class ReasoningTextDelta(msgspec.Struct, kw_only=True, tag_field="type", tag="response.reasoning_text.delta"):
    """New reasoning of the model."""

    item_id: str
    output_index: int
    content_index: int = 0
    delta: str
    sequence_number: int = 0


class ReasoningTextDone(msgspec.Struct, kw_only=True, tag_field="type", tag="response.reasoning_text.done"):
    """All reasoning of a part."""

    item_id: str
    output_index: int
    content_index: int = 0
    text: str
    sequence_number: int = 0


class ArgumentsDelta(msgspec.Struct, kw_only=True, tag_field="type", tag="response.function_call_arguments.delta"):
    """A new piece of a call's arguments."""

    item_id: str
    output_index: int
    delta: str
    sequence_number: int = 0


class ArgumentsDone(msgspec.Struct, kw_only=True, tag_field="type", tag="response.function_call_arguments.done"):
    """All arguments of a call."""

    item_id: str
    output_index: int
    name: str
    arguments: str
    sequence_number: int = 0


class CustomInputDelta(
    msgspec.Struct, kw_only=True, tag_field="type", tag="response.custom_tool_call_input.delta"
):
    """New text of a custom tool's input."""

    item_id: str
    output_index: int
    delta: str
    sequence_number: int = 0


class CustomInputDone(msgspec.Struct, kw_only=True, tag_field="type", tag="response.custom_tool_call_input.done"):
    """All text of a custom tool's input."""

    item_id: str
    output_index: int
    input: str
    sequence_number: int = 0


class ResponseBlock(msgspec.Struct, kw_only=True, tag_field="type", tag="block"):
    """A block of a part's text as HTML, new or in place of the one with its ``index``."""

    item_id: str
    output_index: int
    content_index: int = 0
    index: int
    html: str
    end: int
    sequence_number: int = 0


ResponseEvent = (
    ResponseCreated
    | ResponseQueued
    | ResponseInProgress
    | ResponseCompleted
    | ResponseIncomplete
    | ResponseFailed
    | ResponseErrorEvent
    | OutputItemAdded
    | OutputItemDone
    | OutputItemDropped
    | ContentPartAdded
    | ContentPartDone
    | OutputTextDelta
    | OutputTextDone
    | ReasoningTextDelta
    | ReasoningTextDone
    | ArgumentsDelta
    | ArgumentsDone
    | CustomInputDelta
    | CustomInputDone
    | ResponseBlock
)
