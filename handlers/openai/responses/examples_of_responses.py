"""Examples of requests for responses, for the OpenAPI document. A test sends each of them."""

from typing import Any

from jan.operation import Example

_MODEL = "jan-v1-4b"
_WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 40}},
        "required": ["city"],
        "additionalProperties": False,
    },
}

EXAMPLES = (
    Example(
        summary="A response to a text",
        body={"model": _MODEL, "input": "Hello, how are you?", "max_output_tokens": 50},
    ),
    Example(
        summary="A streamed response to messages, with instructions",
        body={
            "model": _MODEL,
            "instructions": "Answer in one sentence.",
            "input": [{"role": "user", "content": [{"type": "input_text", "text": "What is a queue?"}]}],
            "max_output_tokens": 30,
            "stream": True,
        },
    ),
    Example(
        summary="A response that must call a function",
        body={
            "model": _MODEL,
            "input": "What is the weather in Paris?",
            "tools": [_WEATHER],
            "tool_choice": "required",
            "max_output_tokens": 60,
        },
    ),
)
COUNTED = (Example(summary="How long is this input?", body={"model": _MODEL, "input": "Hello, how are you?"}),)
COMPACTED = (
    Example(
        summary="A conversation in short",
        body={
            "model": _MODEL,
            "input": [
                {"role": "user", "content": "My cat is called Tom."},
                {"role": "assistant", "content": "What a nice name!"},
            ],
        },
    ),
)
