"""Find the properties that an object has in a JSON schema, so that generation keeps to them.

A schema without ``additionalProperties`` allows any others, and a model would make some up. But the properties of
one object may be listed in several places: in the schema, in ``allOf``, behind a reference, in alternatives, or in
``then``.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from jan.engine.grammars.schema_keywords import Path
from jan.engine.grammars.schema_references import REFERENCES, References

ALTERNATIVES = ("anyOf", "oneOf")
_CONDITIONAL = ("then", "else")
_DEPENDENT = ("dependentSchemas", "dependencies")

# A schema and its path.
Place = tuple[Any, Path]


class ListedProperties:
    """The properties that a schema and all its parts list for one object.

    ``names``: by name, the schemas of those that only a condition lists; none if the property is listed without.
    ``required``: names that must be there. ``listed``: True if there is any ``properties`` with a name in it.
    ``opened``: True if a part allows others.
    """

    def __init__(self) -> None:
        self.names: dict[str, list[Place]] = {}
        self.required: set[str] = set()
        self.listed = False
        self.opened = False

    def gather(self, place: Place, references: References) -> "ListedProperties":
        """Add those of a schema and of all its parts."""
        pending, seen = deque([(place, False)]), set[int]()
        while pending:
            (schema, path), conditional = pending.popleft()
            if not isinstance(schema, dict) or id(schema) in seen:
                continue
            seen.add(id(schema))
            self._add(schema, path, conditional)
            pending += [(part, conditional) for part in conjuncts(schema, path, references)]
            pending += [(part, conditional) for key in ALTERNATIVES for part in _in_list(schema, path, key)]
            pending += [(part, True) for part in _conditional(schema, path)]
        return self

    def _add(self, schema: Mapping[str, Any], path: Path, conditional: bool) -> None:
        properties = schema.get("properties")
        if isinstance(properties, dict) and properties:
            self.listed = True
            for name, one in properties.items():
                if conditional:
                    self.names.setdefault(name, []).append((one, (*path, "properties", name)))
                else:
                    self.names[name] = []
        required = schema.get("required")
        if isinstance(required, list):
            self.required.update(name for name in required if isinstance(name, str))
        if not conditional:
            self.opened = self.opened or is_open(schema)


def is_open(schema: Mapping[str, Any]) -> bool:
    """Return True if a schema itself says which other properties are allowed."""
    unevaluated = schema.get("unevaluatedProperties")
    return schema.get("additionalProperties") not in (None, False) or unevaluated in (True, {})


def conjuncts(schema: Mapping[str, Any], path: Path, references: References) -> Iterator[Place]:
    """Yield the schemas that hold together with this one for the same value."""
    yield from _in_list(schema, path, "allOf")
    for key in REFERENCES & schema.keys():
        found = references.find(schema[key]) if isinstance(schema[key], str) else None
        if found is not None:
            yield found


def includes_itself(place: Place, references: References) -> bool:
    """Return True if a value fits a schema only if it fits that schema, which says nothing."""
    pending, seen = [place], set[int]()
    while pending:
        schema, path = pending.pop()
        if id(schema) in seen or not isinstance(schema, dict):
            continue
        seen.add(id(schema))
        parts = list(conjuncts(schema, path, references))
        parts += [part for key in ALTERNATIVES for part in _in_list(schema, path, key)]
        if any(part is place[0] for part, _ in parts):
            return True
        pending += parts
    return False


def _in_list(schema: Mapping[str, Any], path: Path, key: str) -> Iterator[Place]:
    parts = schema.get(key)
    if isinstance(parts, list):
        yield from ((part, (*path, key, at)) for at, part in enumerate(parts))


def _conditional(schema: Mapping[str, Any], path: Path) -> Iterator[Place]:
    if "if" in schema:
        yield from ((schema[key], (*path, key)) for key in _CONDITIONAL if key in schema)
    for key in _DEPENDENT:
        if isinstance(schema.get(key), dict):
            yield from ((part, (*path, key, name)) for name, part in schema[key].items())
