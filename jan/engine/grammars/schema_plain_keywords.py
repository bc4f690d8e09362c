"""Write the keywords of JSON Schema that hold no schemas and depend on nothing but their own schema."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from jan.engine.grammars.schema_keywords import FORMATS

_BOUND_OF = MappingProxyType({"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"})


def _copy(key: str, value: Any, keywords: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value}


def _count(key: str, value: float, keywords: Mapping[str, Any]) -> dict[str, Any]:
    return {key: int(value)}


def _required(key: str, value: Any, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Write the names that must be there; in draft 3 it is a boolean of the property itself."""
    return {} if isinstance(value, bool) else {key: list(dict.fromkeys(value))}


def _format(key: str, value: str, keywords: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value} if value in FORMATS else {}


def _exclusive(key: str, value: Any, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Write an exclusive bound, which in draft 4 is a boolean beside the bound."""
    if not isinstance(value, bool):
        return {key: value}
    bound = keywords.get(_BOUND_OF[key])
    return {key: bound} if value and bound is not None else {}


#: Writers by keyword. Each gets the keyword, its value, and all keywords of the schema.
PLAIN_KEYWORDS = MappingProxyType[str, Callable[[str, Any, Mapping[str, Any]], dict[str, Any]]](
    {
        **dict.fromkeys(("maximum", "minimum", "pattern", "type"), _copy),
        **dict.fromkeys(("maxItems", "maxLength", "maxProperties"), _count),
        **dict.fromkeys(("minItems", "minLength", "minProperties"), _count),
        **dict.fromkeys(("exclusiveMinimum", "exclusiveMaximum"), _exclusive),
        "format": _format,
        "required": _required,
    }
)
