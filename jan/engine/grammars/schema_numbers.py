"""Bounds and constants of numbers as a grammar can express them: integers that a float64 has exactly."""

from collections.abc import Mapping
from typing import Any

# The largest integer below which a float64 has every one: 2^53 - 1, as in ECMA-262 (Number.MAX_SAFE_INTEGER).
_LARGEST = 2**53 - 1
_UPPER = ("maximum", "exclusiveMaximum")
_LOWER = ("minimum", "exclusiveMinimum")


def narrowed_bounds(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bounds that replace those of a written schema, which are beyond what a grammar can express.

    A number that fits them fits the schema. None are returned if no number would fit them.
    """
    upper = {key: keywords[key] for key in _UPPER if key in keywords}
    lower = {key: keywords[key] for key in _LOWER if key in keywords}
    if max(lower.values(), default=0) >= _LARGEST or min(upper.values(), default=0) <= -_LARGEST:
        return {}
    narrowed = {key: _LARGEST for key, bound in upper.items() if bound > _LARGEST}
    return narrowed | {key: -_LARGEST for key, bound in lower.items() if bound < -_LARGEST}


def is_expressible(value: Any) -> bool:
    """Return True if a grammar can express that a value is this one."""
    if isinstance(value, list):
        return all(map(is_expressible, value))
    if isinstance(value, dict):
        return all(map(is_expressible, value.values()))
    return isinstance(value, bool) or not isinstance(value, int | float) or abs(value) <= _LARGEST
