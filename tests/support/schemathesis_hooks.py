"""Teaches Schemathesis media types that it does not know, or knows differently."""

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/jsonl")
def write_lines(_context: schemathesis.SerializationContext, value: Any) -> dict[str, Any]:
    """The schema is that of each line, so a generated value is one line; an example is the whole text."""
    return {"data": value.encode() if isinstance(value, str) else json.dumps(value).encode()}


@schemathesis.deserializer("text/event-stream")
def read_events(_context: schemathesis.DeserializationContext, response: schemathesis.Response) -> list[Any]:
    """The data of each event, which is what the schema is of; every stream has to end as OpenAI's do."""
    lines = [line for line in response.content.decode().split("\n") if line.startswith("data: ")]
    *events, last = [line.removeprefix("data: ") for line in lines]
    if last != "[DONE]":
        raise ValueError(f"a stream ends with {last!r}")
    return [json.loads(event) for event in events]
