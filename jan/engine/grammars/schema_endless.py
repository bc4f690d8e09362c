"""Find the definitions of a written schema that no finite value fits: each value has another one within."""

from collections.abc import Mapping, Set
from typing import Any

_PREFIX = "#/$defs/"
_NAMED = frozenset({"properties", "patternProperties"})
_VALUES = frozenset({"const", "enum"})


def without_endless(schema: Any, definitions: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return a written schema and its definitions with ``false`` for each reference to an endless definition.

    The compiler would find that out only in the middle of an answer.
    """
    finite = set[str]()
    found = True
    while found:  # until a round finds no more
        found = False
        for name in reversed(definitions):
            if name not in finite and _has_finite_value(definitions[name], finite):
                finite.add(name)
                found = True
    if len(finite) == len(definitions):
        return schema, definitions
    kept = {name: _cut(one, finite) for name, one in definitions.items() if name in finite}
    return _cut(schema, finite), kept


def _has_finite_value(schema: Any, finite: Set[str]) -> bool:
    """Return False if no finite value fits a schema, as far as is known of the finite definitions."""
    if isinstance(schema, bool):
        return schema
    if "$ref" in schema and schema["$ref"].removeprefix(_PREFIX) not in finite:
        return False
    if not all(_has_finite_value(one, finite) for one in schema.get("allOf", ())):
        return False
    if "anyOf" in schema and not any(_has_finite_value(one, finite) for one in schema["anyOf"]):
        return False
    return all(_has_finite_value(one, finite) for one in _needed(schema))


def _needed(schema: Mapping[str, Any]) -> list[Any]:
    """Return the schemas of what each value has within: properties that are required, items up to the least."""
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        return [properties[name] for name in schema.get("required", ()) if name in properties]
    if schema.get("type") == "array" and (least := schema.get("minItems", 0)):
        first = schema.get("prefixItems", [])
        return [*first[:least], *([schema.get("items", True)] if least > len(first) else [])]
    return []


def _cut(schema: Any, finite: Set[str]) -> Any:
    if isinstance(schema, list):
        return [_cut(one, finite) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema and schema["$ref"].removeprefix(_PREFIX) not in finite:
        return False
    return {key: value if key in _VALUES else _cut_in(key, value, finite) for key, value in schema.items()}


def _cut_in(key: str, value: Any, finite: Set[str]) -> Any:
    return {name: _cut(one, finite) for name, one in value.items()} if key in _NAMED else _cut(value, finite)
