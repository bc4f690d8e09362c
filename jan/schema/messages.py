"""Messages of a conversation by role, and the parts of their content."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jan.schema.open_body import OpenStruct

CalledName = Annotated[str, Meta(min_length=1)]


class TextPart(OpenStruct, kw_only=True, tag_field="type", tag="text"):
    """A part that is text."""

    text: str


# Separate from TextPart, because msgspec allows a tag only in a union.
class OnlyTextPart(OpenStruct, kw_only=True):
    """Text where no other part is allowed."""

    type: Literal["text"]
    text: str


class RefusalPart(OpenStruct, kw_only=True, tag_field="type", tag="refusal"):
    """An earlier refusal by the assistant."""

    refusal: str


class ImagePart(OpenStruct, kw_only=True, tag_field="type", tag="image_url"):
    """An image, for models with vision."""

    image_url: dict[str, Any]


class AudioPart(OpenStruct, kw_only=True, tag_field="type", tag="input_audio"):
    """A recording, for models that accept audio."""

    input_audio: dict[str, Any]


class FilePart(OpenStruct, kw_only=True, tag_field="type", tag="file"):
    """A file, for models that read files."""

    file: dict[str, Any]


UserPart = TextPart | ImagePart | AudioPart | FilePart


class FunctionCall(OpenStruct, kw_only=True):
    """A function call by the assistant. ``arguments`` is a JSON text."""

    name: str
    arguments: str


class ToolCall(OpenStruct, kw_only=True):
    """One tool call of an assistant message."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class SentFunction(OpenStruct, kw_only=True):
    """A function call in the history of a request. ``arguments`` becomes a JSON text.

    Some clients send an object, or leave it out where there are no arguments.
    """

    name: CalledName
    arguments: str | dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.arguments, str):
            self.arguments = msgspec.json.encode(self.arguments or {}).decode()

    @property
    def text(self) -> str:
        """The arguments as they were sent, or as the JSON of what was sent."""
        return str(self.arguments)


class CustomCall(OpenStruct, kw_only=True):
    """A call of a custom tool, which takes a text."""

    name: CalledName
    input: str


class SentToolCall(OpenStruct, kw_only=True):
    """One tool call in the history of a request. To a model, a custom tool is a function with its text."""

    id: str
    type: Literal["function", "custom"] = "function"
    function: SentFunction = msgspec.field(default_factory=lambda: SentFunction(name=""))
    custom: CustomCall | UnsetType = UNSET

    def __post_init__(self) -> None:
        if isinstance(self.custom, CustomCall):
            self.function = SentFunction(name=self.custom.name, arguments={"input": self.custom.input})
        elif not self.function.name:
            raise ValueError("function: The key 'function' is required.")


class SystemMessage(OpenStruct, kw_only=True, tag_field="role", tag="system"):
    """Instructions to the model."""

    content: str | list[OnlyTextPart]
    name: str | None = None


class DeveloperMessage(OpenStruct, kw_only=True, tag_field="role", tag="developer"):
    """Instructions to the model. Treated as a system message."""

    content: str | list[OnlyTextPart]
    name: str | None = None


class UserMessage(OpenStruct, kw_only=True, tag_field="role", tag="user"):
    """A message from the person."""

    content: str | list[UserPart]
    name: str | None = None


class AssistantMessage(OpenStruct, kw_only=True, tag_field="role", tag="assistant"):
    """An earlier answer of the model. ``reasoning`` is another name of ``reasoning_content``.

    ``function_call``: the older form of one of ``tool_calls``.
    """

    content: str | list[TextPart | RefusalPart] | None = None
    refusal: str | None = None
    name: str | None = None
    tool_calls: list[SentToolCall] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    function_call: SentFunction | None = None


class ToolMessage(OpenStruct, kw_only=True, tag_field="role", tag="tool"):
    """The result of a tool call."""

    content: str | list[OnlyTextPart]
    tool_call_id: str
    name: str | None = None


class FunctionMessage(OpenStruct, kw_only=True, tag_field="role", tag="function"):
    """The result of a function call, in the older form of a tool message."""

    content: str | None
    name: str


Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage
