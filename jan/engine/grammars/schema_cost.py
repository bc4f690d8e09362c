"""Estimate the cost of compiling a JSON schema, without compiling it.

A schema that is certainly too costly is refused with the reason. A schema that is certainly cheap needs no trial.
For all others, the trial decides.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

# Measured: about 6 ms for each 1,000 of a multipleOf's digits read as a number. 20 ms for 400 optional properties
# in one object, growing with the square, and from about 500 on, the parser gives up in the middle of an answer.
MOST_MULTIPLES = 50_000
_MAX_OPTIONAL = 400
_MAX_PROPERTIES = 5_000
# Measured: 2.8 s for 40,000 short values.
MOST_CHOICES = 2_000
# Keywords whose cost depends only on their length, also together.
_SIMPLE = frozenset(
    {"$schema", "additionalProperties", "const", "default", "description", "enum"}
    | {"items", "properties", "required", "strict", "title", "type"}
)


def schema_too_costly(schema: Any, strict: bool = True) -> str:
    """Return why a schema is too costly to compile, '' if it is not. ``strict``: enums may not be left out."""
    objects = list(_objects(schema))
    if strict and sum(len(item["enum"]) for item in objects if isinstance(item.get("enum"), list)) > MOST_CHOICES:
        return f"its enums have more than {MOST_CHOICES} values"
    properties = [(item["properties"], item) for item in objects if isinstance(item.get("properties"), dict)]
    if sum(len(names) for names, _ in properties) > _MAX_PROPERTIES:
        return f"it has more than {_MAX_PROPERTIES} properties"
    if any(len(names) - len(_required(item)) > _MAX_OPTIONAL for names, item in properties):
        return f"an object in it has more than {_MAX_OPTIONAL} properties that are not required"
    return ""


def is_simple(schema: Any) -> bool:
    """Return True if a schema has only keywords that compile quickly when the schema is short."""
    pending = [schema]
    while pending:
        item = pending.pop()
        if isinstance(item, bool):
            continue
        properties = item.get("properties", {}) if isinstance(item, dict) else None
        if not isinstance(properties, dict) or not item.keys() <= _SIMPLE:
            return False
        pending += [item[name] for name in ("items", "additionalProperties") if name in item]
        pending += properties.values()
    return True


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of the schema's JSON text."""
    pending = [schema]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            yield item
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)


def digits_as_number(value: Any) -> int:
    """Return a number without its decimal point and its power of ten, which compiling it takes time for."""
    if not isinstance(value, int | float):
        return 0
    return int("".join(map(str, Decimal(str(value)).as_tuple().digits)))


def _required(item: dict[str, Any]) -> list[Any]:
    required = item.get("required")
    return required if isinstance(required, list) else []
