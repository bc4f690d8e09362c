"""Output formats that a request may ask for, in the forms of OpenAI, vLLM, SGLang, llama-server and TabbyAPI."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from jan.schema.open_body import OpenStruct, Unserved
from jan.schema.unserved import UNSERVED_IN_STRUCTURED_OUTPUTS

# In Python, $ also matches before a final line break, hence the lookahead.
NAME_PATTERN = r"^[A-Za-z0-9_-]{1,64}(?!\n)$"
FunctionName = Annotated[str, Meta(pattern=NAME_PATTERN)]

# Deeper than any sensible schema, and far below Python's recursion limit.
_MAX_SCHEMA_DEPTH = 100


def check_depth(schema: Any) -> None:
    """Check the depth of a JSON schema. Raises ValueError, which msgspec turns into an error with its path."""
    level = [schema]
    for _ in range(_MAX_SCHEMA_DEPTH):
        containers = [item for item in level if isinstance(item, dict | list)]
        level = [i for item in containers for i in (item.values() if isinstance(item, dict) else item)]
        if not level:
            return
    raise ValueError(f"The schema is nested too deeply; allowed: {_MAX_SCHEMA_DEPTH} levels.")


# A schema, or its JSON as a text.
GuidedSchema = dict[str, Any] | Annotated[str, Meta(min_length=2)]
GuidedText = Annotated[str, Meta(min_length=1, max_length=10_000)]
GuidedChoice = Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1, max_length=1000)]


class TextFormat(OpenStruct, kw_only=True, tag_field="type", tag="text"):
    """Free text, without any constraint."""


class JsonObjectFormat(OpenStruct, kw_only=True, tag_field="type", tag="json_object"):
    """A JSON object: any, or one that is valid against ``schema`` (llama-server), also called ``value``."""

    aliases: ClassVar[Mapping[str, str]] = MappingProxyType({"value": "schema"})

    schema: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        check_depth(self.schema)


class JsonSchema(OpenStruct, kw_only=True):
    """A JSON schema with a name, which may be left out as in llama-server."""

    name: FunctionName | None = None
    schema: dict[str, Any] = msgspec.field(default_factory=dict)
    description: str | None = None
    strict: bool | None = None

    def __post_init__(self) -> None:
        check_depth(self.schema)


class JsonSchemaFormat(OpenStruct, kw_only=True, tag_field="type", tag="json_schema"):
    """JSON that is valid against the schema."""

    json_schema: JsonSchema


class RegexFormat(OpenStruct, kw_only=True, tag_field="type", tag="regex"):
    """Text that matches a regular expression."""

    value: GuidedText


class GrammarFormat(OpenStruct, kw_only=True, tag_field="type", tag="grammar"):
    """Text that a grammar accepts."""

    grammar: GuidedText


ResponseFormat = TextFormat | JsonObjectFormat | JsonSchemaFormat | RegexFormat | GrammarFormat


class StructuredOutputs(OpenStruct, kw_only=True, omit_defaults=True):
    """A format that the answer must have. Exactly one field is set. ``grammar`` is a grammar in llguidance's
    variant of Lark, or in llama.cpp's GBNF."""

    unserved: ClassVar[Mapping[str, Unserved]] = UNSERVED_IN_STRUCTURED_OUTPUTS

    json: Annotated[GuidedSchema, Meta(description="A JSON schema", extra={"of": "vLLM"})] | None = None
    json_object: Annotated[bool, Meta(description="Any JSON object", extra={"of": "vLLM"})] | None = None
    regex: Annotated[GuidedText, Meta(description="A regular expression", extra={"of": "vLLM"})] | None = None
    choice: Annotated[GuidedChoice, Meta(description="Texts to choose from", extra={"of": "vLLM"})] | None = None
    grammar: Annotated[GuidedText, Meta(description="A grammar in Lark or GBNF", extra={"of": "vLLM"})] | None = (
        None
    )

    def __post_init__(self) -> None:
        check_depth(self.json)
