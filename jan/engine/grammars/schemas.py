"""Write a JSON schema in the keywords that a grammar can express, and name what is left out.

The written schema has no annotations and no names of its own. What is left out makes it accept more. Objects that
list their properties have no others, unless the schema speaks of others.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from jan.engine.grammars.schema_alternatives import exclude_each_other
from jan.engine.grammars.schema_closing import (
    ALTERNATIVES,
    ListedProperties,
    Place,
    conjuncts,
    includes_itself,
    is_open,
)
from jan.engine.grammars.schema_cost import MOST_CHOICES, MOST_MULTIPLES, digits_as_number
from jan.engine.grammars.schema_endless import without_endless
from jan.engine.grammars.schema_keywords import UNENFORCED, OnMalformed, Path, keywords_of, refuse_malformed
from jan.engine.grammars.schema_numbers import is_expressible, narrowed_bounds
from jan.engine.grammars.schema_plain_keywords import PLAIN_KEYWORDS
from jan.engine.grammars.schema_references import REFERENCES, References
from jan.engine.grammars.schema_trial import (
    KeywordTrial,
    Refusal,
    is_inexpressible,
    is_loosely_counted,
    without_inexpressible,
)

# Keywords whose schemas hold for the same value as the schema that has them.
_IN_PLACE = frozenset({"allOf", *ALTERNATIVES, *REFERENCES})


def written_schema(
    schema: Any, refusal: Refusal, *, tolerant: bool = False
) -> tuple[dict[str, Any], tuple[Path, ...]]:
    """Return a schema as a grammar can express it, and the paths of what is left out.

    Args:
        schema: the schema as the request has it.
        refusal: returns why the compiler can't express a written schema, '' if it can.
        tolerant: leave out what JSON Schema does not allow. Otherwise it raises SchemaMalformed.
    """
    writer = _Writer(schema, tolerant)
    written = writer.whole(schema)
    if is_inexpressible(written, refusal):
        # Only now each keyword is tried alone, which takes longer.
        writer = _Writer(schema, tolerant, refusal)
        written = writer.whole(schema)
        written, left_out = without_inexpressible(written, refusal)
        writer.relaxed += left_out
    return written, tuple(dict.fromkeys(writer.relaxed))


class _Writer:
    """Writes one schema and its definitions. ``relaxed``: the paths of keywords that were left out."""

    def __init__(self, root: Any, tolerant: bool, refusal: Refusal | None = None) -> None:
        self.relaxed: list[Path] = []
        self._tolerant = tolerant
        self._on_malformed: OnMalformed = self._leave_out if tolerant else refuse_malformed
        self._trial = None if refusal is None else KeywordTrial(refusal, self._on_malformed)
        self._choices = 0
        self._multiples = 0
        self._references = References(root)
        self._names: dict[tuple[int, bool], str] = {}
        self._pending: list[tuple[str, Any, Path, bool]] = []

    def whole(self, schema: Any) -> dict[str, Any]:
        """Return the written schema, with the definitions that it refers to."""
        written = self._schema(schema, ())
        definitions: dict[str, Any] = {}
        while self._pending:
            name, target, path, closes = self._pending.pop()
            definitions[name] = self._schema(target, path, closes)
        written, definitions = without_endless(written, definitions)
        if isinstance(written, bool):
            return {} if written else {"enum": []}
        return {**written, "$defs": definitions} if definitions else written

    def _leave_out(self, path: Path, reason: str) -> None:
        self.relaxed.append(path)

    def _schema(self, schema: Any, path: Path, closes: bool = True) -> Any:
        """Return a written schema. ``closes``: False if another one lists the properties together with this."""
        if isinstance(schema, bool):
            return schema
        keywords = keywords_of(schema, path, self._on_malformed)
        if "not" in keywords and keywords["not"] in (True, {}):
            return False
        written = self._with_alternatives(self._shape(keywords, path, closes), keywords, path)
        written.update(narrowed_bounds(written))
        if self._trial is not None:
            self.relaxed += [(*path, *keys) for keys in self._trial.remove_inexpressible(written, path)]
        if is_loosely_counted(written):
            self.relaxed.append((*path, "minProperties"))
        return written

    def _shape(self, keywords: Mapping[str, Any], path: Path, closes: bool) -> dict[str, Any]:
        """Return a schema with its parts written, and its object closed where that belongs."""
        if not closes or "additionalProperties" in keywords or is_open(keywords):
            self._leave_out_unevaluated(keywords, path)
            return self._keywords(keywords, path, inner_closes=False)
        if keywords.get("unevaluatedProperties") is not False and self._is_one_part(keywords, path):
            self._leave_out_unevaluated(keywords, path)
            return self._keywords(keywords, path, inner_closes=True)
        return self._closed(keywords, path)

    def _leave_out_unevaluated(self, keywords: Mapping[str, Any], path: Path) -> None:
        says_nothing = "additionalProperties" in keywords  # which is about all the properties that are left
        if keywords.get("unevaluatedProperties") not in (None, True, {}) and not says_nothing:
            self.relaxed.append((*path, "unevaluatedProperties"))

    def _is_one_part(self, keywords: Mapping[str, Any], path: Path) -> bool:
        """Return True if each alternative of a schema lists an object's properties in one place."""
        if keywords.get("properties") or isinstance(keywords.get("required"), list):
            return False
        parts = sum(1 for _ in conjuncts(keywords, path, self._references))
        return parts == 0 or (parts == 1 and not any(key in keywords for key in ALTERNATIVES))

    def _closed(self, keywords: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """Return a written schema whose objects have no properties but those that it lists somewhere."""
        written = self._keywords(keywords, path, inner_closes=False)
        chosen = next((key for key in ALTERNATIVES if key in keywords), "")
        whole = {key: value for key, value in keywords.items() if key != chosen}
        if not chosen:
            return self._with_properties(written, [(whole, path)], keywords, path)
        places = [((one, (*path, chosen, at)), (whole, path)) for at, one in enumerate(keywords[chosen])]
        written[chosen] = [
            self._with_properties({"allOf": [one]}, place, keywords, path)
            for one, place in zip(written[chosen], places, strict=True)
        ]
        return written

    def _with_properties(
        self, written: dict[str, Any], places: Sequence[Place], keywords: Mapping[str, Any], path: Path
    ) -> dict[str, Any]:
        """Return a written schema closed to properties that none of these schemas lists."""
        found = ListedProperties()
        for place in places:
            found.gather(place, self._references)
        nothing_else = keywords.get("unevaluatedProperties") is False
        if found.opened or not (found.listed or nothing_else):
            self._leave_out_unevaluated(keywords, path)
            return written
        properties = dict(written.get("properties", {}))
        for name, schemas in found.names.items():
            properties.setdefault(name, self._any_of(schemas))
        if not nothing_else:
            properties |= dict.fromkeys(sorted(found.required - properties.keys()), True)
        return {**written, "properties": properties, "additionalProperties": False}

    def _with_alternatives(
        self, written: dict[str, Any], keywords: Mapping[str, Any], path: Path
    ) -> dict[str, Any]:
        """Write oneOf as anyOf, which accepts more unless the alternatives exclude each other."""
        if "oneOf" not in written:
            return written
        places = [(one, (*path, "oneOf", at)) for at, one in enumerate(keywords["oneOf"])]
        if not exclude_each_other(places, keywords.get("type"), self._references):
            self.relaxed.append((*path, "oneOf"))
        if "anyOf" in written:
            both = [*written.get("allOf", []), {"anyOf": written["oneOf"]}]
            return {key: value for key, value in written.items() if key != "oneOf"} | {"allOf": both}
        return {"anyOf" if key == "oneOf" else key: value for key, value in written.items()}

    def _any_of(self, places: Sequence[Place]) -> Any:
        """Return a written schema that allows what any of these allows; anything if there is none."""
        written = [self._schema(schema, path) for schema, path in places]
        return {"anyOf": written} if len(written) > 1 else written[0] if written else True

    def _keywords(self, keywords: Mapping[str, Any], path: Path, inner_closes: bool) -> dict[str, Any]:
        written: dict[str, Any] = {}
        for key, value in keywords.items():
            inner = (*path, key)
            if key in _IN_PLACE:
                written.update(self._in_place(value, inner, inner_closes))
            elif key in PLAIN_KEYWORDS:
                written.update(PLAIN_KEYWORDS[key](key, value, keywords))
            elif key in _WRITERS:
                written.update(_WRITERS[key](self, value, keywords, inner))
            elif key in UNENFORCED and not UNENFORCED[key](value):
                self.relaxed.append(inner)
        return written

    def _in_place(self, value: Any, path: Path, closes: bool) -> dict[str, Any]:
        key = str(path[-1])
        if isinstance(value, str):
            return self._reference(value, path, closes)
        return {key: [self._schema(one, (*path, at), closes) for at, one in enumerate(value)]}

    def _reference(self, value: str, path: Path, closes: bool) -> dict[str, Any]:
        found = self._references.find(value)
        if found is None or includes_itself(found, self._references):
            self.relaxed.append(path)
            return {}
        target, place = found
        key = (id(target), closes)
        if key not in self._names:
            self._names[key] = str(len(self._names))
            self._pending.append((self._names[key], target, place, closes))
        return {"$ref": f"#/$defs/{self._names[key]}"}

    def _values(self, value: Any, keywords: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """Write the values that are allowed, without those that no grammar expresses."""
        if path[-1] == "const":
            value = [value]
        kept = [one for one in value if is_expressible(one)]
        self._choices += len(kept)
        # Up to draft 4, enum had to list a value.
        if (not kept and (value or self._tolerant)) or self._choices > MOST_CHOICES:
            self._choices -= len(kept)
            self.relaxed.append(path)
            return {}
        return {"const": kept[0]} if path[-1] == "const" else {"enum": kept}

    def _multiple(self, value: float, keywords: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """Write a divisor, unless compiling it with those before takes too long."""
        if self._multiples + (digits := digits_as_number(value)) > MOST_MULTIPLES:
            self.relaxed.append(path)
            return {}
        self._multiples += digits
        return {"multipleOf": value}

    def _one(self, value: Any, keywords: Mapping[str, Any], path: Path) -> dict[str, Any]:
        return {str(path[-1]): self._schema(value, path)}

    def _several(self, value: list[Any], keywords: Mapping[str, Any], path: Path) -> dict[str, Any]:
        return {str(path[-1]): [self._schema(one, (*path, at)) for at, one in enumerate(value)]}

    def _named(self, value: dict[str, Any], keywords: Mapping[str, Any], path: Path) -> dict[str, Any]:
        return {str(path[-1]): {name: self._schema(one, (*path, name)) for name, one in value.items()}}

    def _unevaluated_items(self, value: Any, keywords: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """Write the items that no other keyword is about, which is certain only without parts in place."""
        if keywords.keys() & {*_IN_PLACE, "if", "contains", "dependentSchemas"}:
            if value not in (True, {}):
                self.relaxed.append(path)
            return {}
        return {} if "items" in keywords else {"items": self._schema(value, path)}

    def _items(self, value: Any, keywords: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """Write the items of an array; up to draft 2019-09, a list is what prefixItems is now."""
        if not isinstance(value, list):
            return self._one(value, keywords, path)
        others = keywords.get("additionalItems", True)
        rest = {} if others is True else {"items": self._schema(others, (*path[:-1], "additionalItems"))}
        return {"prefixItems": [self._schema(one, (*path, at)) for at, one in enumerate(value)], **rest}


_WRITERS: Mapping[str, Callable[[_Writer, Any, Mapping[str, Any], Path], dict[str, Any]]] = MappingProxyType(
    {
        "multipleOf": _Writer._multiple,
        **dict.fromkeys(("properties", "patternProperties"), _Writer._named),
        **dict.fromkeys(("const", "enum"), _Writer._values),
        "additionalProperties": _Writer._one,
        "items": _Writer._items,
        "prefixItems": _Writer._several,
        "unevaluatedItems": _Writer._unevaluated_items,
    }
)
