"""Turns the output formats of a request into the one that the engine enforces."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from jan.engine.formats import LONGEST_FORMAT, OutputFormat, format_refused, schema_refused
from jan.errors import InvalidRequest
from jan.schema.output_formats import (
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    StructuredOutputs,
)
from jan.schema.parameters import SamplingFields
from jan.schema.tools import Tool

_ANY_OBJECT = OutputFormat(json_schema='{"type": "object"}')


def format_of(body: SamplingFields) -> OutputFormat:
    """Return the requested format, without tools. Raises InvalidRequest if there is more than one."""
    given: list[OutputFormat] = []
    if body.response_format is not None:
        given += _response_format(body)
    if body.structured_outputs is not None:
        given += _formats(body.structured_outputs, _STRUCTURED, "structured_outputs.")
    given += _formats(body, _TOP_LEVEL, "")
    if len(given) > 1:
        raise InvalidRequest(
            f"The request has several output formats ({', '.join(one.param for one in given)}); allowed: one.",
            code="invalid_value",
            param=given[1].param,  # the one too many; the first alone would be allowed
        )
    return given[0] if given else OutputFormat()


def check_tools_length(tools: Sequence[Tool]) -> None:
    """Check the total length of the tools' parameters. Raises InvalidRequest if no engine accepts it."""
    left = LONGEST_FORMAT
    for index, tool in enumerate(tools):
        left -= len(msgspec.json.encode(tool.function.parameters))
        if left < 0:
            raise schema_refused(
                f"together with the tools before it, it is more than {LONGEST_FORMAT} bytes long",
                f"tools[{index}].function.parameters",
            )


def _formats(
    holder: SamplingFields | StructuredOutputs,
    makers: Mapping[str, Callable[[Any, str], OutputFormat]],
    prefix: str,
) -> list[OutputFormat]:
    return [
        make(value, prefix + name)
        for name, make in makers.items()
        if (value := getattr(holder, name)) is not None and value is not False
    ]


def _response_format(body: SamplingFields) -> list[OutputFormat]:
    asked, param = body.response_format, "response_format"
    if isinstance(asked, JsonObjectFormat):
        return [
            _named(_ANY_OBJECT, param) if asked.schema is None else _schema(asked.schema, param, f"{param}.schema")
        ]
    if isinstance(asked, JsonSchemaFormat):
        strict = bool(asked.json_schema.strict)
        return [_schema(asked.json_schema.schema, param, f"{param}.json_schema.schema", strict)]
    if isinstance(asked, RegexFormat):
        return [_regex(asked.value, f"{param}.value")]
    return [_grammar(asked.grammar, f"{param}.grammar")] if isinstance(asked, GrammarFormat) else []


def _named(output: OutputFormat, param: str) -> OutputFormat:
    return msgspec.structs.replace(output, param=param)


def _any_object(_asked: bool, param: str) -> OutputFormat:
    return _named(_ANY_OBJECT, param)


def _schema(schema: dict[str, Any] | str, param: str, path: str = "", strict: bool = False) -> OutputFormat:
    """Return the format of a JSON schema, which some servers take as a text too. ``path``: where it is."""
    text = schema.encode() if isinstance(schema, str) else msgspec.json.encode(schema)
    if len(text) > LONGEST_FORMAT:
        raise schema_refused(f"it is more than {LONGEST_FORMAT} bytes long", param)
    if isinstance(schema, str):
        text = _checked(text, param)
    return OutputFormat(json_schema=text.decode(), param=param, schema_path=path, strict=strict)


def _checked(text: bytes, param: str) -> bytes:
    """Return a schema's JSON as the server writes it. Raises InvalidRequest if it is no JSON object."""
    try:
        return msgspec.json.encode(msgspec.json.decode(text, type=dict[str, Any]))
    except (msgspec.DecodeError, RecursionError):
        raise schema_refused("it is not the JSON of an object", param) from None


def _regex(regex: str, param: str) -> OutputFormat:
    return OutputFormat(regex=regex, param=param)


def _grammar(grammar: str, param: str) -> OutputFormat:
    return OutputFormat(grammar=grammar, param=param)


def _choice(choices: list[str], param: str) -> OutputFormat:
    if sum(map(len, choices)) > LONGEST_FORMAT:
        raise format_refused(f"it is more than {LONGEST_FORMAT} characters long", param, "list of choices")
    return OutputFormat(choices=tuple(choices), param=param)


_STRUCTURED = MappingProxyType[str, Callable[[Any, str], OutputFormat]](
    {"json": _schema, "json_object": _any_object, "regex": _regex, "choice": _choice, "grammar": _grammar}
)
_TOP_LEVEL = MappingProxyType[str, Callable[[Any, str], OutputFormat]](
    {
        "guided_json": _schema,
        "guided_regex": _regex,
        "guided_choice": _choice,
        "guided_grammar": _grammar,
        "json_schema": _schema,
        "regex": _regex,
        "grammar": _grammar,
    }
)
