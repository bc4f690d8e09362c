"""Write the grammar of one tool call: its name, and arguments that its schema allows, in a dialect's form."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from jan.engine.answers.argument_types import properties_of, required_of, types_of
from jan.engine.grammars.ascii_classes import with_ascii_classes
from jan.engine.grammars.lark import ANY_TEXT, Spelling, json_rule, parameters_of
from jan.engine.prompts.dialects.forms import ArgumentForm, CallForm
from jan.schema.tools import Tool

_KEY = "/[A-Za-z_][A-Za-z0-9_]{0,63}/"
# Objects in objects are followed this far, and this many rules are written. All others may be anything.
_MAX_DEPTH = 6
_MAX_RULES = 2000


def body_rules(index: int, tool: Tool, form: CallForm, spelling: Spelling) -> str:
    """Return the rules of one tool's calls, from the name on, the first one named ``body_`` and the index."""
    rules = _ArgumentRules(f"arguments_{index}", form, spelling)
    rules.write(parameters_of(tool))
    name, end = spelling.of(tool.function.name + form.after_name), spelling.of(form.end)
    return "\n".join([f"body_{index}: {name} arguments_{index} {end}", *rules.lines])


class _ArgumentRules:
    """Writes the rules of one tool's arguments.

    Args:
        name: the name of the first rule; all others begin with it.
        form, spelling: how calls and marks are written.
    """

    def __init__(self, name: str, form: CallForm, spelling: Spelling) -> None:
        self.lines: list[str] = []
        self._name, self._form, self._spelling = name, form, spelling
        self._root: Mapping[str, Any] = {}
        self._values: dict[str, Callable[[str, Any, int], str]] = {
            "marked": self._marked_value,
            "python": self._python_value,
            "compact": self._compact_value,
        }

    def write(self, schema: dict[str, Any]) -> None:
        """Write the rules for arguments that the schema allows."""
        self._root = schema
        if self._form.argument is None:
            self.lines.append(f"{self._name}: {json_rule(schema)}")
        else:
            pairs = self._pairs(self._name, schema, 0)
            self.lines.append(f"{self._name}: {pairs}")

    # --- keys ------------------------------------------------------------------------------------------

    def _pairs(self, name: str, schema: Any, depth: int) -> str:
        """Return an expression for the arguments that a schema lists, in its order, each at most once."""
        properties = properties_of(schema, self._root)
        required = required_of(schema, self._root)
        extra = schema.get("additionalProperties", not properties) if isinstance(schema, Mapping) else True
        pairs = [
            (self._pair(f"{name}_{at}", key, value, depth), key in required)
            for at, (key, value) in enumerate(properties.items())
        ]
        if extra is not False:
            others = extra if isinstance(extra, Mapping) else {}
            return self._sequence(name, pairs, self._pair(f"{name}_x", None, others, depth))
        return self._sequence(name, pairs, "")

    def _pair(self, name: str, key: str | None, schema: Any, depth: int) -> str:
        """Write the rule of one argument, and return its name. ``key``: None for any."""
        one = self._argument
        before, after = self._spelling.of(one.before_key), self._spelling.of(one.key_end + one.before_value)
        whole = f"{one.before_key}{key}{one.key_end}{one.before_value}"
        head = f"{before} {_KEY} {after}" if key is None else self._spelling.of(whole)
        value = self._values[self._form.arguments](f"{name}_v", schema, depth)
        self.lines.append(f"{name}: {head} {value}")
        return name

    def _sequence(self, name: str, pairs: list[tuple[str, bool]], extra: str) -> str:
        """Return an expression for pairs in their order, of which only the required ones must come."""
        between = self._spelling.of(self._argument.between)
        if not between:
            listed = [pair if must else f"{pair}?" for pair, must in pairs]
            return " ".join([*listed, f"{extra}*"] if extra else listed) or '""'
        # Two chains of rules: before and after the first pair, which no separator precedes.
        more = f"({between} {extra})*" if extra else '""'
        first = f"({extra} {more})?" if extra else '""'
        for at, (pair, must) in reversed(list(enumerate(pairs))):
            self.lines += [f"{name}_m{at}: {more}", f"{name}_f{at}: {first}"]
            skip_more, skip_first = ("", "") if must else (f" | {name}_m{at}", f" | {name}_f{at}")
            more, first = f"{between} {pair} {name}_m{at}{skip_more}", f"{pair} {name}_m{at}{skip_first}"
        return first

    @property
    def _argument(self) -> ArgumentForm:
        assert self._form.argument is not None  # forms of JSON write no arguments one by one
        return self._form.argument

    # --- values ----------------------------------------------------------------------------------------

    def _json(self, schema: Any) -> str:
        """Return the rule of a value in JSON, with the definitions that it may refer to."""
        shared = {key: self._root[key] for key in ("$defs", "definitions") if key in self._root}
        return json_rule({**shared, **schema} if isinstance(schema, Mapping) else shared)

    def _marked_value(self, name: str, schema: Any, depth: int) -> str:
        """Write the rule of a value between marks together with its end, and return the rule's name."""
        types, end = types_of(schema, self._root), self._argument.end
        if types and "string" not in types:
            self.lines += [f"{name}_j: {self._json(schema)}"]
            self.lines += [f"{name}: {name}_j {self._spelling.of(end)}"]
            return name
        text = _choices(schema) or (self._pattern(schema) if types == {"string"} else "")
        if text:
            self.lines.append(f"{name}: ({text}) {self._spelling.of(end)}")
            return name
        marks = [end.strip(), *self._form.closers]
        marks += [self._argument.before_key] if self._argument.next_key_ends else []
        self.lines.append(f"{name.upper()}: {self._spelling.text_without(*marks)}")
        self.lines.append(self._spelling.text_up_to(name, name.upper(), end))
        return name

    def _pattern(self, schema: Any) -> str:
        """Return the expression of a string's pattern if it says all of the string, else ''."""
        pattern = schema.get("pattern") if isinstance(schema, Mapping) else None
        if not isinstance(pattern, str) or not pattern.startswith("^") or not pattern.endswith("$"):
            return ""
        inner = with_ascii_classes(pattern[1:-1])
        return "" if not inner or "/" in inner or "\n" in inner or "(?" in inner else f"/{inner}/"

    def _python_value(self, name: str, schema: Any, depth: int) -> str:
        types = types_of(schema, self._root)
        rule = '"True" | "False"' if types == {"boolean"} and not _closed(schema) else self._json(schema)
        self.lines.append(f"{name}: {rule}")
        return name

    def _compact_value(self, name: str, schema: Any, depth: int) -> str:
        """Write the rule of a value with bare keys and the form's own quotes, and return the rule's name."""
        types = types_of(schema, self._root)
        if texts := self._compact_choices(schema):
            self.lines.append(f"{name}: {texts}")
            return name
        if depth > _MAX_DEPTH or len(self.lines) > _MAX_RULES or not types:
            return self._any_compact()
        if len(types) > 1:
            parts = _alternatives(schema) or [{**schema, "type": kind} for kind in sorted(types)]
            names = [self._compact_value(f"{name}_{at}", part, depth + 1) for at, part in enumerate(parts)]
            self.lines.append(f"{name}: {' | '.join(names)}")
            return name
        (kind,) = types
        quote = self._spelling.of(self._argument.quote)
        if kind == "string":
            self.lines.append(self._spelling.text_up_to(name, ANY_TEXT, self._argument.quote, before=quote))
        elif kind == "array":
            item = self._compact_value(f"{name}_i", _resolved_items(schema), depth + 1)
            self.lines.append(f'{name}: "[" ({item} ("," {item})*)? "]"')
        elif kind == "object":
            self.lines.append(f'{name}: "{{" {self._parenthesised(name, schema, depth)} "}}"')
        else:
            self.lines.append(f"{name}: {self._json(schema)}")
        return name

    def _compact_choices(self, schema: Any) -> str:
        """Return alternatives for a schema that lists strings, numbers and constants, '' for any other."""
        quote = self._spelling.of(self._argument.quote)
        values = _listed_values(schema)
        if any(isinstance(value, dict | list) for value in values):
            return ""
        texts = [
            f"{quote} {json.dumps(value)} {quote}" if isinstance(value, str) else json.dumps(json.dumps(value))
            for value in values
        ]
        return " | ".join(dict.fromkeys(texts))

    def _parenthesised(self, name: str, schema: Any, depth: int) -> str:
        return f"({self._pairs(name, schema, depth + 1)})"

    def _any_compact(self) -> str:
        """Write the rules of any value, once, and return the name of the first."""
        name, quote = f"{self._name}_any", self._spelling.of(self._argument.quote)
        if not any(line.startswith(f"{name}:") for line in self.lines):
            text = self._spelling.text_up_to(f"{name}_text", ANY_TEXT, self._argument.quote, before=quote)
            scalar = json_rule({"type": ["number", "boolean", "null"]})
            pair = f'{_KEY} ":" {name}'
            self.lines += [
                f'{name}: {name}_text | {name}_scalar | "[" ({name} ("," {name})*)? "]" | {name}_object',
                f'{name}_object: "{{" ({pair} ("," {pair})*)? "}}"',
                f"{name}_scalar: {scalar}",
                text,
            ]
        return name


def _closed(schema: Any) -> bool:
    return isinstance(schema, Mapping) and ("enum" in schema or "const" in schema)


def _listed_values(schema: Any) -> list[Any]:
    """Return the values that a schema lists; none if it lists none."""
    if not isinstance(schema, Mapping):
        return []
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    return values if isinstance(values, list) else []


def _alternatives(schema: Any) -> list[Any]:
    """Return the schemas among which a schema chooses; none if it does not choose."""
    found = next((schema[key] for key in ("anyOf", "oneOf") if key in schema), None)
    return found if isinstance(found, list) else []


def _choices(schema: Any) -> str:
    """Return alternatives for a schema that lists its values, '' for any other. Strings stand without quotes."""
    values = _listed_values(schema)
    texts = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values]
    return " | ".join(map(json.dumps, dict.fromkeys(texts)))


def _resolved_items(schema: Any) -> Any:
    return schema.get("items", {}) if isinstance(schema, Mapping) else {}
