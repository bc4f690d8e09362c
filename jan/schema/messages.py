"""Messages of a conversation, by role, and the parts that their content may have."""

from typing import Any, Literal

import msgspec


class TextPart(msgspec.Struct, kw_only=True, tag_field="type", tag="text"):
    """Text."""

    text: str


class OnlyTextPart(msgspec.Struct, kw_only=True):
    """Text, where nothing else may be. Not a TextPart: msgspec wants a tag only where there is a choice."""

    type: Literal["text"]
    text: str


class RefusalPart(msgspec.Struct, kw_only=True, tag_field="type", tag="refusal"):
    """An earlier refusal of the assistant's."""

    refusal: str


class ImagePart(msgspec.Struct, kw_only=True, tag_field="type", tag="image_url"):
    """An image; for models that can see."""

    image_url: dict[str, Any]


class AudioPart(msgspec.Struct, kw_only=True, tag_field="type", tag="input_audio"):
    """Sound; for models that can hear."""

    input_audio: dict[str, Any]


class FilePart(msgspec.Struct, kw_only=True, tag_field="type", tag="file"):
    """A file; for models that can read it."""

    file: dict[str, Any]


UserPart = TextPart | ImagePart | AudioPart | FilePart


class FunctionCall(msgspec.Struct, kw_only=True):
    """A call that the assistant made; ``arguments`` is a JSON text."""

    name: str
    arguments: str


class ToolCall(msgspec.Struct, kw_only=True):
    """One tool call of an assistant's message."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class SystemMessage(msgspec.Struct, kw_only=True, tag_field="role", tag="system"):
    """Instructions to the model."""

    content: str | list[OnlyTextPart]
    name: str | None = None


class DeveloperMessage(msgspec.Struct, kw_only=True, tag_field="role", tag="developer"):
    """Instructions to the model; served as a system message."""

    content: str | list[OnlyTextPart]
    name: str | None = None


class UserMessage(msgspec.Struct, kw_only=True, tag_field="role", tag="user"):
    """What the person says."""

    content: str | list[UserPart]
    name: str | None = None


class AssistantMessage(msgspec.Struct, kw_only=True, tag_field="role", tag="assistant"):
    """What the model answered earlier."""

    content: str | list[TextPart | RefusalPart] | None = None
    refusal: str | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None


class ToolMessage(msgspec.Struct, kw_only=True, tag_field="role", tag="tool"):
    """What a tool answered."""

    content: str | list[OnlyTextPart]
    tool_call_id: str


class FunctionMessage(msgspec.Struct, kw_only=True, tag_field="role", tag="function"):
    """What a function answered (the older form of a tool message)."""

    content: str | None
    name: str


Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage
