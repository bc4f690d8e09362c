"""Tell if the alternatives of ``oneOf`` exclude each other. Then it means the same as ``anyOf``."""

import json
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from jan.engine.grammars.schema_closing import Place, conjuncts
from jan.engine.grammars.schema_references import References

# More alternatives are not compared; neither are properties of properties of properties.
_MOST_ALTERNATIVES = 64
_MAX_DEPTH = 3

_TYPE_OF = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}


def exclude_each_other(places: Sequence[Place], around: Any, references: References) -> bool:
    """Return True if no value fits two of these schemas. ``around``: types of the value, if known."""
    if len(places) > _MOST_ALTERNATIVES:
        return False
    every = [_Facts(place, references) for place in places]
    for facts in every:
        facts.add_types(around)
    return all(_are_disjoint(one, other, 0) for one, other in combinations(every, 2))


class _Facts:
    """Facts about the values that fit a schema: their types, the values themselves if they are listed, and the
    properties of objects."""

    def __init__(self, place: Place, references: References) -> None:
        self.types: set[str] | None = None
        self.values: set[str] | None = None
        self.required: set[str] = set()
        self.properties: dict[str, Place] = {}
        self.references = references
        self.never = False
        pending, seen = [place], set[int]()
        while pending:
            schema, path = pending.pop()
            if schema is False:
                self.never = True
            if not isinstance(schema, dict) or id(schema) in seen:
                continue
            seen.add(id(schema))
            self._add(schema, path)
            pending += conjuncts(schema, path, references)

    def _add(self, schema: dict[str, Any], path: tuple[str | int, ...]) -> None:
        self.add_types(schema.get("type"))
        if "const" in schema:
            self._add_values([schema["const"]])
        if isinstance(schema.get("enum"), list):
            self._add_values(schema["enum"])
        if isinstance(schema.get("required"), list):
            self.required.update(name for name in schema["required"] if isinstance(name, str))
        if isinstance(schema.get("properties"), dict):
            for name, one in schema["properties"].items():
                self.properties.setdefault(name, (one, (*path, "properties", name)))

    def add_types(self, kinds: Any) -> None:
        """Add that values are of this type, or of one of these."""
        listed = [kinds] if isinstance(kinds, str) else kinds
        if isinstance(listed, list):
            types = {"number" if kind == "integer" else kind for kind in listed if isinstance(kind, str)}
            self.types = types if self.types is None else self.types & types

    def _add_values(self, values: Sequence[Any]) -> None:
        written = {_written(value) for value in values}
        self.values = written if self.values is None else self.values & written
        self.add_types(["null" if value is None else _TYPE_OF[type(value)] for value in values])


def _are_disjoint(one: _Facts, other: _Facts, depth: int) -> bool:
    if one.never or other.never:
        return True
    if one.values is not None and other.values is not None:
        return not one.values & other.values
    if one.types is None or other.types is None:
        return False
    common = one.types & other.types
    if common != {"object"} or depth >= _MAX_DEPTH:
        return not common
    names = (one.required | other.required) & one.properties.keys() & other.properties.keys()
    return any(
        _are_disjoint(
            _Facts(one.properties[name], one.references),
            _Facts(other.properties[name], other.references),
            depth + 1,
        )
        for name in names
    )


def _written(value: Any) -> str:
    """Return JSON that is the same for equal values: 1 and 1.0 are equal, 1 and true are not."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, dict):
        return json.dumps({name: _written(one) for name, one in value.items()}, sort_keys=True)
    return json.dumps(value)
