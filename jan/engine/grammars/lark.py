"""Pieces of grammars in llguidance's variant of Lark: marks, free text, and JSON that a schema accepts."""

import json
import re
from collections.abc import Mapping
from typing import Any

from jan.engine.prompts.dialects.forms import INDEX, NINE
from jan.schema.tools import Tool

# Compact JSON, because with free white space a small model may spend its whole budget on line breaks. Without \\u,
# because a key that is spelled with it would escape from its property's schema.
_JSON_OPTIONS: dict[str, Any] = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "json_allowed_escapes": 'nrbtf\\"',
}

ANY_TEXT = r"/(.|\n)*/"
# Characters of regular expressions that mean themselves only after a backslash.
_SPECIAL = re.compile(r"([\\/.*+?()\[\]{}|^$&~\-])")
# What may be a control token of a vocabulary, or the place of a call's number or id.
_PART = re.compile(rf"(<[^<>\s]+>|\[/?[A-Z_]+\]|{INDEX}|{NINE})")


class Spelling:
    """Writes marks such as ``<tool_call>`` in a grammar: as a control token if the vocabulary has it, else as
    text."""

    def __init__(self, control: Mapping[bytes, int]) -> None:
        self._control = control

    def of(self, text: str) -> str:
        """Return text, with all the marks in it, as a grammar writes it; '' for none."""
        return " ".join(written for part in _PART.split(text) if (written := self._one(part)))

    def is_control(self, mark: str) -> bool:
        """Return True if the mark is a control token, which free text never has."""
        return mark.encode() in self._control

    def text_up_to(self, name: str, text: str, mark: str, before: str = "") -> str:
        """Return a rule for ``text`` up to a mark.

        The rule is lazy, so that the first mark ends the text. A control token needs no lazy rule. White space
        before it is a part of the text.
        """
        _, first, *_ = *_PART.split(mark.lstrip()), ""
        if _PART.match(mark.lstrip()) and self.is_control(first):
            return f"{name}: {before} {text} {self.of(mark.lstrip())}"
        return f"{name}[lazy]: {before} {text} {self.of(mark)}"

    def text_without(self, *marks: str) -> str:
        """Return an expression for text that has none of these marks in it. It never has control tokens."""
        spelled = [_SPECIAL.sub(r"\\\1", mark) for mark in marks if mark and not self.is_control(mark)]
        return f"{ANY_TEXT} & ~/(.|\\n)*({'|'.join(spelled)})(.|\\n)*/" if spelled else ANY_TEXT

    def _one(self, part: str) -> str:
        if part == INDEX:
            return "/[0-9]{1,2}/"
        if part == NINE:
            return "/[A-Za-z0-9]{9}/"
        token = self._control.get(part.encode())
        if token is not None:
            return f"<[{token}]>"
        return json.dumps(part) if part else ""


def json_rule(schema: dict[str, Any]) -> str:
    """Return the rule of JSON that a schema accepts."""
    return "%json " + json.dumps({**schema, "x-guidance": _JSON_OPTIONS})


def parameters_of(tool: Tool) -> dict[str, Any]:
    """Return the schema of a tool's arguments, which are always an object."""
    schema = tool.function.parameters or {}
    if schema.get("type") == "object":
        return schema
    if not schema.keys() & {"type", "enum", "const", "allOf", "anyOf", "oneOf", "$ref", "not"}:
        return {**schema, "type": "object"}
    every = schema.get("allOf", [])
    return {**schema, "allOf": [*(every if isinstance(every, list) else []), {"type": "object"}]}
