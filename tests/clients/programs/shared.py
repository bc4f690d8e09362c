"""What every program sends and asks for."""

from collections.abc import Callable
from typing import Any

TEXT = "Hello, dear server!"
SCRIPTED = "scripted"
# It repeats what it is asked.
SPOKEN = "spoken"
REAL = "jan-v1-4b"
EMBEDDER = "embedder"
NOBODY = "nobody"
WEATHER = "Sunny in Paris."
TRIP = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Paris"]}, "days": {"type": "integer", "enum": [2]}},
    "required": ["city", "days"],
    "additionalProperties": False,
}


def joined(pieces: list[str]) -> str:
    """Return the text of a stream, which must come in pieces."""
    found = [piece for piece in pieces if piece]
    assert len(found) > 1, found
    return "".join(found)


def refused(error_type: type[Exception], call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Return the error of a call that must fail with one."""
    try:
        call(*arguments, **named)
    except error_type as error:
        return error
    raise AssertionError("It was not refused.")
