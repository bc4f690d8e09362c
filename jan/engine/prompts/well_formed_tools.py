"""Tools whose schemas a chat template can show: without values that JSON Schema does not allow.

Most templates show the schema of a tool as JSON, whatever it says. Some, such as those of Gemma 4 and gpt-oss,
write each property in words of their own, and fail where ``properties`` is a list or ``required`` a number.
"""

from typing import Any

import msgspec

from jan.engine.generation_request import ChatPrompt
from jan.engine.grammars.schema_keywords import is_allowed

_OF_SCHEMAS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_SCHEMAS = frozenset({"items", "additionalProperties", "allOf", "anyOf", "oneOf", "prefixItems", "not"})
_TEXTS = frozenset({"title", "description"})


def with_well_formed_tools(prompt: ChatPrompt) -> ChatPrompt | None:
    """Return a prompt whose tools have only what JSON Schema allows; None if they have nothing else."""
    schemas = [_well_formed(tool.function.parameters) for tool in prompt.tools]
    if schemas == [tool.function.parameters for tool in prompt.tools]:
        return None
    tools = [
        msgspec.structs.replace(tool, function=msgspec.structs.replace(tool.function, parameters=schema))
        for tool, schema in zip(prompt.tools, schemas, strict=True)
    ]
    sent = [
        {**one, "function": {**one["function"], "parameters": schema}}
        for one, schema in zip(prompt.sent_tools, schemas, strict=False)
    ]
    return msgspec.structs.replace(prompt, tools=tuple(tools), sent_tools=tuple(sent))


def _well_formed(schema: Any) -> Any:
    """Return a schema without the keywords that are malformed. What is no schema becomes one that says nothing."""
    if isinstance(schema, bool) or schema is None:
        return schema
    if isinstance(schema, list):
        return [_well_formed(one) for one in schema]
    if not isinstance(schema, dict):
        return {}
    shown = {key: _value(key, value) for key, value in schema.items() if _is_shown(key, value)}
    return {**shown, "properties": {}} if "properties" in schema.keys() - shown.keys() else shown


def _is_shown(key: str, value: Any) -> bool:
    if key in _TEXTS:
        return isinstance(value, str)
    if key == "required":  # in draft 3 a boolean, which templates do not know
        return isinstance(value, list) and is_allowed(key, value)
    return is_allowed(key, value)


def _value(key: str, value: Any) -> Any:
    if key in _OF_SCHEMAS and isinstance(value, dict):
        return {name: {} if one is None else _well_formed(one) for name, one in value.items()}
    return _well_formed(value) if key in _SCHEMAS else value
