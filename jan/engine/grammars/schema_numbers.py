"""Bounds and constants of numbers as a grammar can express them: integers that a float64 has exactly."""

from collections.abc import Mapping
from typing import Any

# The largest integer below which a float64 has every one: 2^53 - 1, as in ECMA-262 (Number.MAX_SAFE_INTEGER).
_LARGEST = 2**53 - 1
_UPPER = ("maximum", "exclusiveMaximum")
_LOWER = ("minimum", "exclusiveMinimum")


def narrowed_bounds(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bounds that replace those of a written schema, which are beyond what a grammar can express.

    A number that fits them fits the schema.
    """
    narrowed: dict[str, Any] = {}
    for key in _UPPER:
        if key in keywords and keywords[key] > _LARGEST:
            narrowed[key] = _LARGEST
    for key in _LOWER:
        if key in keywords and keywords[key] < -_LARGEST:
            narrowed[key] = -_LARGEST
    return narrowed


def is_expressible(value: Any) -> bool:
    """Return True if a grammar can express that a value is this one."""
    if isinstance(value, list):
        return all(map(is_expressible, value))
    if isinstance(value, dict):
        return all(map(is_expressible, value.values()))
    return isinstance(value, bool) or not isinstance(value, int | float) or abs(value) <= _LARGEST
