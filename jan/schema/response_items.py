"""Items of OpenAI's Responses API: those that a request sends, and those that an answer has."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from jan.schema.messages import CalledName
from jan.schema.open_body import OpenStruct
from jan.schema.sampling import TokenLogprob

ItemStatus = Literal["in_progress", "completed", "incomplete"]

# --- sent -------------------------------------------------------------------------------------------


class InputText(OpenStruct, kw_only=True, tag_field="type", tag="input_text"):
    """Text of a message."""

    text: str


class PlainText(OpenStruct, kw_only=True, tag_field="type", tag="text"):
    """Text by the name that chat completions have for it."""

    text: str


class OutputText(OpenStruct, kw_only=True, tag_field="type", tag="output_text"):
    """Text of an earlier answer."""

    text: str
    annotations: Any = None
    logprobs: Any = None


class OutputRefusal(OpenStruct, kw_only=True, tag_field="type", tag="refusal"):
    """An earlier refusal by the assistant."""

    refusal: str


class InputImage(OpenStruct, kw_only=True, tag_field="type", tag="input_image"):
    """An image, for models with vision."""

    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None


class InputFile(OpenStruct, kw_only=True, tag_field="type", tag="input_file"):
    """A file, for models that read files."""

    file_id: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    filename: str | None = None


class InputAudio(OpenStruct, kw_only=True, tag_field="type", tag="input_audio"):
    """A recording, for models that accept audio."""

    input_audio: dict[str, Any]


InputPart = InputText | PlainText | OutputText | OutputRefusal | InputImage | InputFile | InputAudio


class MessageItem(OpenStruct, kw_only=True):
    """A message. It may be without `type`."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[InputPart]
    id: str | None = None
    status: ItemStatus | None = None
    phase: str | None = None


class FunctionCallItem(OpenStruct, kw_only=True):
    """An earlier call of a function."""

    type: Literal["function_call"]
    call_id: str
    name: CalledName
    namespace: str | None = None
    arguments: str
    id: str | None = None
    status: ItemStatus | None = None


class CustomCallItem(OpenStruct, kw_only=True):
    """An earlier call of a custom tool."""

    type: Literal["custom_tool_call"]
    call_id: str
    name: CalledName
    namespace: str | None = None
    input: str
    id: str | None = None
    status: ItemStatus | None = None


class CallOutputItem(OpenStruct, kw_only=True):
    """The result of a call."""

    type: Literal["function_call_output", "custom_tool_call_output"]
    call_id: str
    namespace: str | None = None
    output: str | list[InputPart]
    id: str | None = None
    status: ItemStatus | None = None


class ReasoningText(OpenStruct, kw_only=True):
    """A part of reasoning, or of a summary of it."""

    type: Literal["reasoning_text", "summary_text", "text"]
    text: str


class SentReasoning(OpenStruct, kw_only=True):
    """Earlier reasoning, for chat templates that show it."""

    type: Literal["reasoning"]
    id: str | None = None
    summary: list[ReasoningText] = msgspec.field(default_factory=list)
    content: list[ReasoningText] | None = None
    encrypted_content: str | None = None
    status: ItemStatus | None = None


class SentCompaction(OpenStruct, kw_only=True):
    """A compacted conversation, whose summary only the server that made it can read."""

    type: Literal["compaction"]
    encrypted_content: str
    id: str | None = None
    created_by: str | None = None


SentItem = MessageItem | FunctionCallItem | CustomCallItem | CallOutputItem | SentReasoning

# --- answered ---------------------------------------------------------------------------------------


class TextContent(msgspec.Struct, kw_only=True, tag_field="type", tag="output_text"):
    """Text of an answer."""

    text: str
    annotations: list[dict[str, Any]] = []
    logprobs: list[TokenLogprob] = []


class ReasoningContent(msgspec.Struct, kw_only=True, tag_field="type", tag="reasoning_text"):
    """Reasoning before an answer."""

    text: str


class MessageOutput(msgspec.Struct, kw_only=True, tag_field="type", tag="message"):
    """A message of the assistant."""

    id: str
    status: ItemStatus
    role: Literal["assistant"] = "assistant"
    content: list[TextContent]


class ReasoningOutput(msgspec.Struct, kw_only=True, tag_field="type", tag="reasoning"):
    """The reasoning of a model. There is no summary of it.

    ``encrypted_content``: it encrypted for this server, if the request includes that.
    """

    id: str
    status: ItemStatus
    summary: list[dict[str, Any]] = []
    content: list[ReasoningContent]
    encrypted_content: str | msgspec.UnsetType = msgspec.UNSET


class FunctionCallOutput(msgspec.Struct, kw_only=True, tag_field="type", tag="function_call"):
    """A call of a function. ``arguments`` is a JSON text."""

    id: str
    status: ItemStatus
    call_id: str
    name: str
    namespace: str | UnsetType = UNSET
    arguments: str


class CustomCallOutput(msgspec.Struct, kw_only=True, tag_field="type", tag="custom_tool_call"):
    """A call of a custom tool, which takes a text."""

    id: str
    status: ItemStatus
    call_id: str
    name: str
    namespace: str | UnsetType = UNSET
    input: str


class CompactionOutput(msgspec.Struct, kw_only=True, tag_field="type", tag="compaction"):
    """The summary of a conversation, which only this server can read."""

    id: str
    encrypted_content: str


ShownItem = MessageOutput | ReasoningOutput | FunctionCallOutput | CustomCallOutput
OutputItem = ShownItem | CompactionOutput
