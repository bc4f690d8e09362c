"""Teaches Schemathesis media types that it does not know, or knows differently."""

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/jsonl")
def write_lines(_context: schemathesis.SerializationContext, value: Any) -> dict[str, Any]:
    """The schema is that of each line, so a generated value is one line; an example is the whole text."""
    return {"data": value.encode() if isinstance(value, str) else json.dumps(value).encode()}


# The events that end a stream: of OpenAI's older APIs one that is no JSON, of others one that says so.
_ENDS = ("message_stop", "response.completed", "response.incomplete", "response.failed")


@schemathesis.deserializer("text/event-stream")
def read_events(_context: schemathesis.DeserializationContext, response: schemathesis.Response) -> list[Any]:
    """The data of each event, which is what the schema is of; every stream has to end as its API's do."""
    lines = [line for line in response.content.decode().split("\n") if line.startswith("data: ")]
    *events, last = [line.removeprefix("data: ") for line in lines]
    if last != "[DONE]":
        events.append(last)
        if json.loads(last).get("type") not in _ENDS:
            raise ValueError(f"a stream ends with {last!r}")
    return [json.loads(event) for event in events]


@schemathesis.deserializer("application/x-ndjson")
def read_lines(_context: schemathesis.DeserializationContext, response: schemathesis.Response) -> Any:
    """The last line of a stream, which says that it is. The schema is that of each line."""
    lines = [json.loads(line) for line in response.content.decode().splitlines()]
    if not lines[-1].get("done"):
        raise ValueError(f"a stream ends with {lines[-1]!r}")
    return lines[-1]
