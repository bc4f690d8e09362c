"""Examples of chat requests for the OpenAPI document. A test sends each of them."""

from typing import Any

from jan.operation import Example

_MODEL = "jan-v1-4b"
_HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello, how are you?"}]
_WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather at a place",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 40}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
_PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 40},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}

EXAMPLES = (
    Example(
        summary="A question",
        body={"model": _MODEL, "messages": _HELLO, "max_tokens": 100, "temperature": 0.7},
    ),
    Example(
        summary="The same, streamed",
        body={
            "model": _MODEL,
            "messages": _HELLO,
            "max_tokens": 30,
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    ),
    Example(
        summary="An answer of a given shape",
        body={
            "model": _MODEL,
            "messages": [{"role": "user", "content": "Make up a person."}],
            "max_tokens": 100,
            "response_format": {"type": "json_schema", "json_schema": {"name": "person", "schema": _PERSON}},
        },
    ),
    Example(
        summary="A tool that must be called",
        body={
            "model": _MODEL,
            "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
            "max_tokens": 100,
            "tools": [_WEATHER],
            "tool_choice": "required",
        },
    ),
)
