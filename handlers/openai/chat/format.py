"""Turns the output formats of a chat completion request into the one that the engine enforces."""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from jan.engine.formats import LONGEST_FORMAT, OutputFormat, format_refused
from jan.errors import InvalidRequest
from jan.schema.chat import ChatCompletionRequest, JsonObjectFormat, JsonSchemaFormat, StructuredOutputs, Tool

_KINDS = ("json", "regex", "choice", "grammar")
# By field: the kind of format, and the parameter that an error names.
_GUIDED = MappingProxyType({f"guided_{kind}": (kind, f"guided_{kind}") for kind in _KINDS})
_STRUCTURED = MappingProxyType({kind: (kind, f"structured_outputs.{kind}") for kind in _KINDS})


def format_of(body: ChatCompletionRequest) -> OutputFormat:
    """Return the requested format, without tools. Raises InvalidRequest if there is more than one."""
    given = _formats(body, _GUIDED)
    if body.structured_outputs is not None:
        given = _formats(body.structured_outputs, _STRUCTURED) | given
    if (made := _response_format(body)) is not None:
        given = {"response_format": made} | given
    if len(given) > 1:
        raise InvalidRequest(
            f"The request has several output formats ({', '.join(given)}); allowed: one.",
            code="invalid_value",
            param=list(given)[1],  # the one too many; the first alone would be allowed
        )
    return next(iter(given.values()), OutputFormat())


def _formats(
    holder: ChatCompletionRequest | StructuredOutputs, fields: Mapping[str, tuple[str, str]]
) -> dict[str, OutputFormat]:
    """Return the requested formats by the names of their parameters."""
    return {
        param: _format(kind, value, param)
        for name, (kind, param) in fields.items()
        if (value := getattr(holder, name)) is not None
    }


def check_tools_length(tools: Sequence[Tool]) -> None:
    """Check the total length of the tools' parameters. Raises InvalidRequest if no engine accepts it."""
    left = LONGEST_FORMAT
    for index, tool in enumerate(tools):
        left -= len(msgspec.json.encode(tool.function.parameters))
        if left < 0:
            raise format_refused(
                f"together with the tools before it, it is more than {LONGEST_FORMAT} bytes long",
                f"tools[{index}].function.parameters",
            )


def _response_format(body: ChatCompletionRequest) -> OutputFormat | None:
    if isinstance(body.response_format, JsonObjectFormat):
        return OutputFormat(json_schema='{"type": "object"}')
    if isinstance(body.response_format, JsonSchemaFormat):
        return _schema_format(body.response_format.json_schema.schema, "response_format")
    return None


def _format(kind: str, value: Any, param: str) -> OutputFormat:
    if kind == "json":
        return _schema_format(value, param)
    if kind == "regex":
        return OutputFormat(regex=value)
    if kind == "grammar":
        return OutputFormat(grammar=value)
    if sum(map(len, value)) > LONGEST_FORMAT:
        raise format_refused(f"its choices are more than {LONGEST_FORMAT} characters long", param)
    return OutputFormat(grammar="start: " + " | ".join(json.dumps(choice, ensure_ascii=False) for choice in value))


def _schema_format(schema: dict[str, Any], param: str) -> OutputFormat:
    text = msgspec.json.encode(schema)
    if len(text) > LONGEST_FORMAT:
        raise format_refused(f"it is more than {LONGEST_FORMAT} bytes long", param)
    return OutputFormat(json_schema=text.decode())
