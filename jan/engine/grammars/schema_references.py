"""Find what the references of a JSON schema point to, within the same document."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urljoin

from jan.engine.grammars.schema_keywords import Path

REFERENCES = frozenset({"$dynamicRef", "$recursiveRef", "$ref"})

# Keywords whose values are data, not schemas.
_DATA = frozenset({"const", "default", "enum", "examples"})


class References:
    """The places of a schema that references can name: by JSON pointer (RFC 6901), anchor, or ``$id``."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._named: dict[str, tuple[Any, Path]] = {}
        for schema, path, base in _identified(root):
            if isinstance(schema.get("$id"), str):
                self._named.setdefault(base.removesuffix("#"), (schema, path))
            for key in ("$anchor", "$dynamicAnchor"):
                if isinstance(schema.get(key), str):
                    self._named.setdefault(f"{base.partition('#')[0]}#{schema[key]}", (schema, path))
                    self._named.setdefault(f"#{schema[key]}", (schema, path))

    def find(self, reference: str) -> tuple[Any, Path] | None:
        """Return the schema that a reference names and its path; None if it is not in the document."""
        root_id = self._root.get("$id") if isinstance(self._root, dict) else None
        absolute = urljoin(root_id, reference) if isinstance(root_id, str) else reference
        for name in (reference, absolute):
            if name in self._named:
                return self._named[name]
            base, _, fragment = name.partition("#")
            start = self._named.get(base) if base else (self._root, ())
            if start is not None and (found := followed(*start, fragment)) is not None:
                return found
        return None


def followed(schema: Any, path: Path, fragment: str) -> tuple[Any, Path] | None:
    """Return the schema that a JSON pointer names, and its path; None if there is none.

    ``schema``, ``path``: where it starts. ``fragment``: the pointer as the fragment of a URL.
    """
    if fragment and not fragment.startswith("/"):
        return None
    for part in unquote(fragment).split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(schema, dict) and key in schema:
            schema, path = schema[key], (*path, key)
        elif isinstance(schema, list) and key.isdecimal() and len(key) < 9 and int(key) < len(schema):
            schema, path = schema[int(key)], (*path, int(key))
        else:
            return None
    return (schema, path) if isinstance(schema, dict | bool) else None


def _identified(root: Any) -> Iterator[tuple[dict[str, Any], Path, str]]:
    """Yield each schema that has a name of its own, its path, and the base of its references."""
    pending: list[tuple[Any, Path, str]] = [(root, (), "")]
    while pending:
        item, path, base = pending.pop()
        if isinstance(item, list):
            pending += [(inner, (*path, at), base) for at, inner in enumerate(item)]
        elif isinstance(item, dict):
            if isinstance(item.get("$id"), str):
                base = _joined(base, item["$id"])
            if item.keys() & {"$id", "$anchor", "$dynamicAnchor"}:
                yield item, path, base
            pending += [(inner, (*path, key), base) for key, inner in item.items() if key not in _DATA]


def _joined(base: str, reference: str) -> str:
    try:
        return urljoin(base, reference)
    except ValueError:  # no URL, such as an address that is cut short
        return reference
