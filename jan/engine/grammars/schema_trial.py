"""Find out which keywords of a written schema the compiler can't express, by asking it for each one alone."""

from collections.abc import Callable, Iterator
from typing import Any

from jan.engine.grammars.schema_keywords import OnMalformed, Path

# Returns why the compiler can't express a schema, '' if it can.
Refusal = Callable[[dict[str, Any]], str]

# A part of the compiler's message about a schema that it understands, and that nothing satisfies.
_CONTRADICTION = "Unsatisfiable schema"
# Parts of its messages about an expression that is wrong in every dialect of regular expressions.
_FAULTS = ("unclosed group", "unopened group", "repetition operator missing expression")
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_COUNTS = ("minProperties", "maxProperties")


def is_inexpressible(schema: dict[str, Any], refusal: Refusal) -> bool:
    """Return True if the compiler lacks something in a schema. It lacks nothing in one that nothing satisfies."""
    reason = refusal(schema)
    return bool(reason) and _CONTRADICTION not in reason


def is_loosely_counted(schema: dict[str, Any]) -> bool:
    """Return True if the same key could be written twice to reach the least number of properties."""
    others = schema.get("additionalProperties", True) is not False or "patternProperties" in schema
    return others and schema.get("minProperties", 0) > len(schema.get("required", ())) + 1


class KeywordTrial:
    """Tries the keywords of written schemas, each alone. ``on_malformed`` gets wrong regular expressions."""

    def __init__(self, refusal: Refusal, on_malformed: OnMalformed) -> None:
        self._refusal = refusal
        self._on_malformed = on_malformed

    def remove_inexpressible(self, schema: dict[str, Any], path: Path) -> Iterator[Path]:
        """Remove the keywords of a written schema that can't be expressed, and yield the path of each.

        ``path``: where the schema is.
        """
        if "pattern" in schema:
            self._check_regex(schema["pattern"], (*path, "pattern"))
        for key in ("pattern", "format", "multipleOf"):
            kind = "number" if key == "multipleOf" else "string"
            if key in schema and self._fails({"type": kind, key: schema[key]}):
                yield from _removed(schema, (key,))
        bounds = {key: schema[key] for key in _BOUNDS if key in schema}
        if bounds and self._fails({"type": "integer" if schema.get("type") == "integer" else "number", **bounds}):
            yield from _removed(schema, _BOUNDS)
        yield from self._patterns(schema)
        if any(key in schema for key in _COUNTS) and self._fails(_counted(schema)):
            yield from _removed(schema, _COUNTS)

    def _check_regex(self, pattern: str, path: Path) -> None:
        reason = self._refusal({"type": "string", "pattern": pattern})
        if any(fault in reason for fault in _FAULTS):
            self._on_malformed(path, f"it is no regular expression: {reason}")

    def _patterns(self, schema: dict[str, Any]) -> Iterator[Path]:
        """Keep those patterns of names that can be expressed together. They must exclude each other."""
        patterns = schema.get("patternProperties", {})
        kept: dict[str, Any] = {}
        for pattern in patterns:
            if self._fails({"type": "object", "patternProperties": {**kept, pattern: True}}):
                yield "patternProperties", pattern
            else:
                kept[pattern] = True
        if patterns:
            schema["patternProperties"] = {pattern: patterns[pattern] for pattern in kept}

    def _fails(self, schema: dict[str, Any]) -> bool:
        return is_inexpressible(schema, self._refusal)


def _removed(schema: dict[str, Any], keys: tuple[str, ...]) -> Iterator[Path]:
    for key in keys:
        if key in schema:
            del schema[key]
            yield (key,)


def _counted(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with the same properties and no schemas of them."""
    shallow = {key: schema[key] for key in (*_COUNTS, "required") if key in schema}
    for key in ("properties", "patternProperties"):
        if key in schema:
            shallow[key] = {name: one is not False for name, one in schema[key].items()}
    return {"type": "object", "additionalProperties": schema.get("additionalProperties") is not False, **shallow}


def without_inexpressible(schema: dict[str, Any], refusal: Refusal) -> tuple[dict[str, Any], list[Path]]:
    """Return a schema without the properties that can't be expressed, and their paths.

    If that does not help, all but the type is left out, and the path is the root's.
    """
    if not is_inexpressible(schema, refusal):
        return schema, []
    shared = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    properties, left_out = dict(schema.get("properties", {})), list[Path]()
    for name, one in properties.items():
        if isinstance(one, dict) and is_inexpressible({**one, **shared}, refusal):
            properties[name] = True
            left_out.append(("properties", name))
    changed = {**schema, "properties": properties}
    if left_out and not is_inexpressible(changed, refusal):
        return changed, left_out
    return ({"type": schema["type"]} if "type" in schema else {}), [()]
