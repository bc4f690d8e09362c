"""Write a JSON schema in the keywords that a grammar can express, and name what is left out.

The written schema has no annotations and no names of its own. What is left out makes it accept more, never less.
"""

from collections.abc import Callable, Mapping
from typing import Any

from jan.engine.grammars.schema_keywords import FORMATS, UNENFORCED, Path, keywords_of
from jan.engine.grammars.schema_references import References

_COPIED = frozenset({"const", "enum", "maximum", "minimum", "multipleOf", "pattern", "required", "type"})
_COUNTS = frozenset({"maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties"})
_REFERENCES = frozenset({"$dynamicRef", "$recursiveRef", "$ref"})


def written_schema(schema: Any) -> tuple[dict[str, Any], tuple[Path, ...]]:
    """Return a schema as a grammar can express it, and the paths of what is left out.

    Raises SchemaMalformed for a value that JSON Schema does not allow.
    """
    writer = _Writer(schema)
    return writer.whole(schema), tuple(dict.fromkeys(writer.relaxed))


class _Writer:
    """Writes one schema and its definitions. ``relaxed``: the paths of keywords that were left out."""

    def __init__(self, root: Any) -> None:
        self.relaxed: list[Path] = []
        self._references = References(root)
        self._names: dict[int, str] = {}
        self._pending: list[tuple[str, Any, Path]] = []

    def whole(self, schema: Any) -> dict[str, Any]:
        """Return the written schema, with the definitions that it refers to."""
        written = self._schema(schema, ())
        definitions: dict[str, Any] = {}
        while self._pending:
            name, target, path = self._pending.pop()
            definitions[name] = self._schema(target, path)
        if isinstance(written, bool):
            return {} if written else {"enum": []}
        return {**written, "$defs": definitions} if definitions else written

    def _schema(self, schema: Any, path: Path) -> Any:
        if isinstance(schema, bool):
            return schema
        keywords = keywords_of(schema, path)
        if keywords.get("not") in (True, {}) and "not" in keywords:
            return False
        written: dict[str, Any] = {}
        for key, value in keywords.items():
            written.update(self._keyword(key, value, keywords, path))
        return written

    def _keyword(self, key: str, value: Any, keywords: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """Return the keywords that stand for one, none if it says nothing or can't be expressed."""
        inner = (*path, key)
        if key in _COPIED:
            return {} if isinstance(value, bool) and key == "required" else {key: value}
        if key in _COUNTS:
            return {key: int(value)}
        if key in _WRITERS:
            return _WRITERS[key](self, value, keywords, inner)
        if key in UNENFORCED and not UNENFORCED[key](value):
            self.relaxed.append(inner)
        return {}

    def _format(self, value: str, keywords: Mapping[str, Any], path: Path) -> dict[str, Any]:
        return {"format": value} if value in FORMATS else {}

    def _exclusive(self, value: Any, keywords: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """Write an exclusive bound, which in draft 4 is a boolean beside the bound."""
        key = str(path[-1])
        bound = keywords.get({"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}[key])
        if isinstance(value, bool):
            return {key: bound} if value and bound is not None else {}
        return {key: value}

    def _one(self, value: Any, keywords: Mapping[str, Any], path: Path) -> dict[str, Any]:
        return {str(path[-1]): self._schema(value, path)}

    def _several(self, value: list[Any], keywords: Mapping[str, Any], path: Path) -> dict[str, Any]:
        return {str(path[-1]): [self._schema(one, (*path, at)) for at, one in enumerate(value)]}

    def _named(self, value: dict[str, Any], keywords: Mapping[str, Any], path: Path) -> dict[str, Any]:
        return {str(path[-1]): {name: self._schema(one, (*path, name)) for name, one in value.items()}}

    def _items(self, value: Any, keywords: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """Write the items of an array; up to draft 2019-09, a list is what prefixItems is now."""
        if not isinstance(value, list):
            return self._one(value, keywords, path)
        others = keywords.get("additionalItems", True)
        rest = {} if others is True else {"items": self._schema(others, (*path[:-1], "additionalItems"))}
        return {"prefixItems": [self._schema(one, (*path, at)) for at, one in enumerate(value)], **rest}

    def _reference(self, value: str, keywords: Mapping[str, Any], path: Path) -> dict[str, Any]:
        found = self._references.find(value)
        if found is None:
            self.relaxed.append(path)
            return {}
        target, place = found
        if id(target) not in self._names:
            self._names[id(target)] = name = str(len(self._names))
            self._pending.append((name, target, place))
        return {"$ref": f"#/$defs/{self._names[id(target)]}"}


_WRITERS: Mapping[str, Callable[[_Writer, Any, Mapping[str, Any], Path], dict[str, Any]]] = {
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _Writer._several),
    **dict.fromkeys(("properties", "patternProperties"), _Writer._named),
    **dict.fromkeys(_REFERENCES, _Writer._reference),
    **dict.fromkeys(("exclusiveMinimum", "exclusiveMaximum"), _Writer._exclusive),
    "additionalProperties": _Writer._one,
    "format": _Writer._format,
    "items": _Writer._items,
}
