"""Find the types that a tool's schema gives to its arguments, and read values of these types from text."""

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from jan.engine.answers.literals import literal_of, number_of
from jan.engine.grammars.schema_references import followed

_INTEGER = re.compile(r"[-+]?\d{1,400}")
_JSON_TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}


def properties_of(schema: Any, root: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the schemas of an object's properties by name, those of all its alternatives together."""
    found: dict[str, Any] = {}
    for part in _parts(schema, root or {}):
        properties = part.get("properties")
        if isinstance(properties, Mapping):
            # Another place may say more about a property that may be anything here.
            said = {name: one for name, one in found.items() if one is not True or name not in properties}
            found = {**properties, **said}
    return found


def required_of(schema: Any, root: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the names of properties that an object must have, whichever alternative it is."""
    required: set[str] = set()
    for part in _parts(schema, root or {}, alternatives=("allOf",)):
        required.update(name for name in _listed(part, "required") if isinstance(name, str))
    return frozenset(required)


def types_of(schema: Any, root: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the JSON types that a schema allows; none if it does not say."""
    types: set[str] = set()
    for part in _parts(schema, root or {}):
        kind = part.get("type")
        if kind is None:
            types.update(_implied_types(part))
        else:
            types.update(each for each in (kind, *_listed(part, "type")) if isinstance(each, str))
    return frozenset(types)


def _implied_types(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the types of a schema that names none."""
    values = [*_listed(schema, "enum"), *([schema["const"]] if "const" in schema else [])]
    yield from (_type_of(value) for value in values)
    if "properties" in schema:
        yield "object"
    if "items" in schema:
        yield "array"


def _listed(schema: Mapping[str, Any], key: str) -> list[Any]:
    """Return the list that a schema has at a key, empty if it has none."""
    return schema[key] if isinstance(schema.get(key), list) else []


def _type_of(value: Any) -> str:
    return "null" if value is None else _JSON_TYPES[type(value)]


def value_of(text: str, types: frozenset[str]) -> Any:
    """Return the value that a text stands for, if it is of one of these types; else the text itself."""
    word = text.strip()
    if not types - {"string"} or not word:
        return text
    if "null" in types and word.lower() in ("null", "none"):
        return None
    if "boolean" in types and word.lower() in ("true", "false"):
        return word.lower() == "true"
    if types & {"integer", "number"} and _INTEGER.fullmatch(word):
        return int(word)
    value = _json_or_literal(word)
    kind = _type_of(value)
    fits = kind in types or (kind in ("integer", "number") and bool(types & {"integer", "number"}))
    return value if fits and kind not in ("string", "null") else text


def _json_or_literal(text: str) -> Any:
    for read in (_json, literal_of):
        try:
            return read(text)
        except (ValueError, RecursionError):
            continue
    return text


def _json(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse_constant, parse_float=number_of)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON.")


def _parts(
    schema: Any, root: Mapping[str, Any], alternatives: tuple[str, ...] = ("allOf", "anyOf", "oneOf")
) -> Iterator[Mapping[str, Any]]:
    """Yield a schema and all that it refers to, is made of, or chooses among, each once."""
    waiting, seen = deque([schema]), set()
    while waiting:
        part = waiting.popleft()
        if not isinstance(part, Mapping) or id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        reference = part.get("$ref")
        if isinstance(reference, str) and reference.startswith("#"):
            found = followed(root, (), reference[1:])
            waiting.append(found and found[0])
        for key in alternatives:
            waiting.extend(_listed(part, key))
