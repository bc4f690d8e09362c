"""Keywords of JSON Schema: the values that each may have, and those that no grammar expresses.

Source: JSON Schema 2020-12 and its meta-schema, with the keywords of drafts 4 to 2019-09 that it replaced. A
keyword that is not listed here is an annotation, as 2020-12 says (core 6.5), and so is a format that is not listed
(validation 7.2).
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

# Keys and indices from the root of a schema.
Path = tuple[str | int, ...]

TYPES = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})

# The formats that a grammar holds a string to. All others are annotations.
FORMATS = frozenset({"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid"})

# Keywords that a grammar can't express, each with the values that say nothing. For any other value the keyword is
# left out and named.
UNENFORCED = MappingProxyType[str, Callable[[Any], bool]](
    {
        "contains": lambda value: value is None,
        "dependencies": lambda value: not value,
        "dependentRequired": lambda value: not any(value.values()),
        "dependentSchemas": lambda value: all(schema in (True, {}) for schema in value.values()),
        "if": lambda value: value is None,
        "not": lambda value: value is False,
        "propertyNames": lambda value: value in (True, {}),
        "uniqueItems": lambda value: value is False,
    }
)


class SchemaMalformed(ValueError):
    """A keyword has a value that JSON Schema does not allow.

    Args:
        path: where, from the root of the schema.
        reason: a clause that says what is allowed.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(reason)
        self.path, self.reason = path, reason


def _is_schema(value: Any) -> bool:
    return isinstance(value, bool | dict)


def _are_named_schemas(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_schema, value.values()))


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value == int(value)


def _is_type(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, str) and item in TYPES for item in value)
    return isinstance(value, str) and value in TYPES


def _are_dependencies(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_schema(one) or _are_texts(one) for one in value.values())


_Check = tuple[Callable[[Any], bool], str]
_SCHEMA: _Check = _is_schema, "an object or a boolean"
# Of these, each schema is checked by itself.
_SCHEMAS: _Check = lambda value: isinstance(value, list) and bool(value), "a list of one or more schemas"
_NAMED: _Check = lambda value: isinstance(value, dict), "an object of schemas"
_COUNT: _Check = _is_count, "a whole number from 0 on"
_BOUND: _Check = lambda value: isinstance(value, bool) or _is_number(value), "a number"
_TEXT: _Check = lambda value: isinstance(value, str), "a text"

_CHECKS = MappingProxyType[str, _Check](
    {
        **dict.fromkeys(("allOf", "anyOf", "oneOf"), _SCHEMAS),
        **dict.fromkeys(("properties", "patternProperties"), _NAMED),
        "dependentSchemas": (_are_named_schemas, "an object of schemas"),
        **dict.fromkeys(("additionalProperties", "unevaluatedProperties", "propertyNames", "not"), _SCHEMA),
        **dict.fromkeys(("if", "then", "else", "contains", "additionalItems", "unevaluatedItems"), _SCHEMA),
        **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties"), _COUNT),
        **dict.fromkeys(("maxProperties", "minContains", "maxContains"), _COUNT),
        **dict.fromkeys(("minimum", "maximum"), (_is_number, "a number")),
        **dict.fromkeys(("exclusiveMinimum", "exclusiveMaximum"), _BOUND),
        **dict.fromkeys(("$ref", "$dynamicRef", "$recursiveRef", "pattern", "format"), _TEXT),
        "multipleOf": (lambda value: _is_number(value) and value > 0, "a number above 0"),
        "items": (lambda value: isinstance(value, bool | dict | list), "a schema or a list of schemas"),
        "prefixItems": _SCHEMAS,
        "type": (_is_type, f"one or more of {', '.join(sorted(TYPES))}"),
        "enum": (lambda value: isinstance(value, list), "a list"),
        # As a boolean it is draft 3's.
        "required": (lambda value: isinstance(value, bool) or _are_texts(value), "a list of texts"),
        "uniqueItems": (lambda value: isinstance(value, bool), "a boolean"),
        "dependentRequired": (
            lambda value: isinstance(value, dict) and all(map(_are_texts, value.values())),
            "an object of lists of texts",
        ),
        "dependencies": (_are_dependencies, "an object of schemas or lists of texts"),
    }
)
# Here null is a value like others.
_VALUES = frozenset({"const", "default"})


# Gets the path of a malformed value, and a clause that says what is allowed there.
OnMalformed = Callable[[Path, str], None]


def refuse_malformed(path: Path, reason: str) -> None:
    """Raise SchemaMalformed for a malformed value."""
    raise SchemaMalformed(path, reason)


def keywords_of(schema: Any, path: Path, on_malformed: OnMalformed) -> Mapping[str, Any]:
    """Return the keywords of a schema that is an object. Those that are null, as some libraries write them, are
    left out, and so are those with a value that JSON Schema does not allow.
    """
    if not isinstance(schema, dict):
        on_malformed(path, "allowed is an object or a boolean")
        return {}
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if value is None and key not in _VALUES:
            continue
        if is_allowed(key, value):
            found[key] = value
        else:
            on_malformed((*path, key), f"allowed is {_CHECKS[key][1]}")
    return found


def is_allowed(key: str, value: Any) -> bool:
    """Return True if a keyword may have this value. Each schema in it has to be checked by itself."""
    return key not in _CHECKS or _CHECKS[key][0](value)
