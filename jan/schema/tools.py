"""Tools of a chat completion request: functions, custom tools, and which of them the answer may call."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from jan.schema.open_body import OpenStruct, Unserved
from jan.schema.output_formats import FunctionName, check_depth


class FunctionDefinition(OpenStruct, kw_only=True):
    """A function that the model may call. ``parameters`` is a JSON schema."""

    shown_as_sent: ClassVar[bool] = True

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    def __post_init__(self) -> None:
        check_depth(self.parameters)


class _Written(OpenStruct, kw_only=True, dict=True):
    """An object that remembers how the client wrote it."""

    shown_as_sent: ClassVar[bool] = True

    @property
    def sent(self) -> dict[str, Any] | None:
        """The object as the client wrote it, if that is known."""
        found: dict[str, Any] | None = vars(self).get("written")
        return found

    def keep_written(self, written: dict[str, Any]) -> None:
        """Remember the object as the client wrote it."""
        vars(self)["written"] = written


class Tool(_Written, kw_only=True, dict=True):
    """A function as a model gets it. Its chat template may show names that nothing here knows."""

    type: Literal["function"]
    function: FunctionDefinition


class FunctionTool(_Written, kw_only=True, dict=True, tag_field="type", tag="function"):
    """A tool that takes arguments of a JSON schema."""

    function: FunctionDefinition


class TextOfTool(OpenStruct, kw_only=True, tag_field="type", tag="text"):
    """Text without any constraint."""


class RegexDefinition(OpenStruct, kw_only=True):
    """A regular expression. Other grammars can't be enforced within the JSON that a model writes."""

    syntax: Literal["regex"]
    definition: Annotated[str, Meta(min_length=1, max_length=10_000)]


class RegexOfTool(OpenStruct, kw_only=True, tag_field="type", tag="grammar"):
    """Text that a regular expression matches."""

    grammar: RegexDefinition


class CustomDefinition(OpenStruct, kw_only=True):
    """A tool that takes a text."""

    name: FunctionName
    description: str | None = None
    format: TextOfTool | RegexOfTool | None = None


class CustomTool(_Written, kw_only=True, dict=True, tag_field="type", tag="custom"):
    """A tool that takes a text."""

    unserved: ClassVar[Mapping[str, Unserved]] = MappingProxyType({})

    custom: CustomDefinition


RequestedTool = FunctionTool | CustomTool


class ChosenFunction(OpenStruct, kw_only=True):
    """The name of the chosen function."""

    name: str


class NamedToolChoice(OpenStruct, kw_only=True, tag_field="type", tag="function"):
    """A function that the model must call."""

    function: ChosenFunction


class NamedCustomChoice(OpenStruct, kw_only=True, tag_field="type", tag="custom"):
    """A custom tool that the model must call."""

    custom: ChosenFunction


class AllowedTools(OpenStruct, kw_only=True):
    """The tools that the model may call, or must call one of."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedToolChoice | NamedCustomChoice], Meta(min_length=1, max_length=128)]


class AllowedToolsChoice(OpenStruct, kw_only=True, tag_field="type", tag="allowed_tools"):
    """A part of the tools."""

    allowed_tools: AllowedTools


ToolChoice = Literal["none", "auto", "required", "any"] | NamedToolChoice | NamedCustomChoice | AllowedToolsChoice
