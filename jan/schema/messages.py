"""Messages of a conversation by role, and the parts of their content."""

from typing import Any, Literal

import msgspec


class TextPart(msgspec.Struct, kw_only=True, tag_field="type", tag="text"):
    """A part that is text."""

    text: str


# Separate from TextPart, because msgspec allows a tag only in a union.
class OnlyTextPart(msgspec.Struct, kw_only=True):
    """Text where no other part is allowed."""

    type: Literal["text"]
    text: str


class RefusalPart(msgspec.Struct, kw_only=True, tag_field="type", tag="refusal"):
    """An earlier refusal by the assistant."""

    refusal: str


class ImagePart(msgspec.Struct, kw_only=True, tag_field="type", tag="image_url"):
    """An image, for models with vision."""

    image_url: dict[str, Any]


class AudioPart(msgspec.Struct, kw_only=True, tag_field="type", tag="input_audio"):
    """A recording, for models that accept audio."""

    input_audio: dict[str, Any]


class FilePart(msgspec.Struct, kw_only=True, tag_field="type", tag="file"):
    """A file, for models that read files."""

    file: dict[str, Any]


UserPart = TextPart | ImagePart | AudioPart | FilePart


class FunctionCall(msgspec.Struct, kw_only=True):
    """A function call by the assistant. ``arguments`` is a JSON text."""

    name: str
    arguments: str


class ToolCall(msgspec.Struct, kw_only=True):
    """One tool call of an assistant message."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class SystemMessage(msgspec.Struct, kw_only=True, tag_field="role", tag="system"):
    """Instructions to the model."""

    content: str | list[OnlyTextPart]
    name: str | None = None


class DeveloperMessage(msgspec.Struct, kw_only=True, tag_field="role", tag="developer"):
    """Instructions to the model. Treated as a system message."""

    content: str | list[OnlyTextPart]
    name: str | None = None


class UserMessage(msgspec.Struct, kw_only=True, tag_field="role", tag="user"):
    """A message from the person."""

    content: str | list[UserPart]
    name: str | None = None


class AssistantMessage(msgspec.Struct, kw_only=True, tag_field="role", tag="assistant"):
    """An earlier answer of the model."""

    content: str | list[TextPart | RefusalPart] | None = None
    refusal: str | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None


class ToolMessage(msgspec.Struct, kw_only=True, tag_field="role", tag="tool"):
    """The result of a tool call."""

    content: str | list[OnlyTextPart]
    tool_call_id: str


class FunctionMessage(msgspec.Struct, kw_only=True, tag_field="role", tag="function"):
    """The result of a function call, in the older form of a tool message."""

    content: str | None
    name: str


Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage
