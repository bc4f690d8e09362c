"""From the output formats of a chat completion request to the one that the engine enforces."""

import json
from typing import Any

from jan.engine.base import OutputFormat
from jan.errors import InvalidRequest
from jan.schema.chat import ChatCompletionRequest, JsonObjectFormat, JsonSchemaFormat, StructuredOutputs

_KINDS = ("json", "regex", "choice", "grammar")


def format_of(body: ChatCompletionRequest) -> OutputFormat:
    """The format without tools; raises InvalidRequest if there is more than one."""
    outputs = body.structured_outputs or StructuredOutputs()
    asked = {"response_format": _response_format(body)}
    asked |= {f"structured_outputs.{kind}": _format(kind, getattr(outputs, kind)) for kind in _KINDS}
    asked |= {f"guided_{kind}": _format(kind, getattr(body, f"guided_{kind}")) for kind in _KINDS}
    given = {name: made for name, made in asked.items() if made is not None}
    if len(given) > 1:
        raise InvalidRequest(
            f"one output format at a time; this has {', '.join(given)}", code="invalid_value", param=list(given)[1]
        )
    return next(iter(given.values()), OutputFormat())


def _response_format(body: ChatCompletionRequest) -> OutputFormat | None:
    if isinstance(body.response_format, JsonObjectFormat):
        return OutputFormat(json_schema='{"type": "object"}')
    if isinstance(body.response_format, JsonSchemaFormat):
        return OutputFormat(json_schema=json.dumps(body.response_format.json_schema.schema))
    return None


def _format(kind: str, value: Any) -> OutputFormat | None:
    if value is None:
        return None
    if kind == "json":
        return OutputFormat(json_schema=json.dumps(value))
    if kind == "regex":
        return OutputFormat(regex=value)
    if kind == "grammar":
        return OutputFormat(grammar=value)
    return OutputFormat(grammar="start: " + " | ".join(json.dumps(choice, ensure_ascii=False) for choice in value))
