"""Whatever is generated for a schema is valid by it: random schemas and answers, and jsonschema as the judge."""

import copy
import json
import random
import re
from collections.abc import Sequence
from typing import Any

import jsonschema
import pytest

pytest.importorskip("llguidance")

from jan.engine.formats import OutputFormat
from jan.engine.grammars.constraint import GrammarCompiler, Vocabulary, refusal_of
from jan.engine.grammars.schema_keywords import Path
from jan.engine.grammars.schemas import written_schema
from jan.errors import InvalidRequest

_WORDS = [b'", "', b'": ', b"true", b"null", b"abc", b"-1", b"10", b"0.5", b"e1", "é".encode(), b"\\n", b"\\u0061"]
END = 256 + len(_WORDS)
COMPILER = GrammarCompiler(
    Vocabulary(
        [bytes([value]) for value in range(256)] + _WORDS + [b"<end>"],
        [END],
        [END],
        lambda text: list(text.encode()),
    )
)
NAMES = ["a", "b", "c", "xy"]
PATTERNS = ["^a", "b$", "^[a-c]{2,4}$", r"^\d+$", r"\bx", "(?=a)", "[x-z]", r"^\S+$", r"^(a|b)*$", "[^a]"]
STEPS = 160


class Schemas:
    """Makes random schemas, with every keyword."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)

    def whole(self) -> dict[str, Any]:
        """Return a schema whose references point into it."""
        parts = {name: self.one(2) for name in ("A", "B")}
        schema = self.one(3)
        return {**(schema if isinstance(schema, dict) else {}), "$defs": parts}

    def one(self, depth: int) -> Any:
        kinds = ["string", "number", "integer", "values", "array", "object", "object", "union"]
        if depth <= 0:
            return self.draw.choice([True, {}, {"type": "null"}, {"type": "boolean"}, {"type": "integer"}])
        kind = self.draw.choice([*kinds, "reference", "all", "object"])
        made: dict[str, Any] = getattr(self, f"_{kind}")(depth - 1)
        if self.draw.random() < 0.1:
            made["not"] = self.one(0)
        return made

    def some(self, choices: dict[str, Any], chance: float = 0.3) -> dict[str, Any]:
        """Return some of these keywords."""
        return {key: make() for key, make in choices.items() if self.draw.random() < chance}

    def _string(self, depth: int) -> dict[str, Any]:
        draw = self.draw
        return {"type": draw.choice(["string", ["string", "null"]])} | self.some(
            {
                "minLength": lambda: draw.randint(0, 2),
                "maxLength": lambda: draw.randint(2, 6),
                "pattern": lambda: draw.choice(PATTERNS),
                "format": lambda: draw.choice(["date", "ipv4", "password", "uuid"]),
            }
        )

    def _number(self, depth: int, kind: str = "number") -> dict[str, Any]:
        draw = self.draw
        low, high = sorted(
            (draw.choice([-(2**63), -20, -1.5, 0, 3]), draw.choice([4, 7.25, 100, 2**63 - 1, 3.4e38]))
        )
        return {"type": kind} | self.some(
            {
                "minimum": lambda: low,
                "maximum": lambda: high,
                "exclusiveMinimum": lambda: low - 1,
                "exclusiveMaximum": lambda: high + 1,
                "multipleOf": lambda: draw.choice([1, 2, 3, 0.5, 0.25]),
            }
        )

    def _integer(self, depth: int) -> dict[str, Any]:
        return self._number(depth, "integer")

    def _values(self, depth: int) -> dict[str, Any]:
        values = [1, 1.5, "a", "b", None, True, ["a"], {"a": 1}, 2**60 + 1, 'é\n"']
        if self.draw.random() < 0.3:
            return {"const": self.draw.choice(values)}
        return {"enum": self.draw.sample(values, self.draw.randint(1, 5))}

    def _array(self, depth: int) -> dict[str, Any]:
        draw = self.draw
        return {"type": "array"} | self.some(
            {
                "items": lambda: self.one(depth),
                "prefixItems": lambda: [self.one(depth) for _ in range(draw.randint(1, 2))],
                "minItems": lambda: draw.randint(0, 2),
                "maxItems": lambda: draw.randint(2, 4),
                "uniqueItems": lambda: draw.choice([True, False]),
                "contains": lambda: self.one(0),
                "unevaluatedItems": lambda: self.one(0),
            },
            0.4,
        )

    def _object(self, depth: int) -> dict[str, Any]:
        draw = self.draw
        names = draw.sample(NAMES, draw.randint(0, 3))
        return {"type": "object"} | self.some(
            {
                "properties": lambda: {name: self.one(depth) for name in names},
                "required": lambda: draw.sample(NAMES, draw.randint(0, 2)),
                "additionalProperties": lambda: draw.choice([True, False, self.one(depth)]),
                "patternProperties": lambda: {draw.choice(PATTERNS): self.one(depth)},
                "minProperties": lambda: draw.randint(0, 2),
                "maxProperties": lambda: draw.randint(2, 3),
                "propertyNames": lambda: {"maxLength": 3},
                "dependentRequired": lambda: {"a": ["b"]},
                "if": lambda: {"required": ["a"]},
                "then": lambda: self.one(depth),
                "unevaluatedProperties": lambda: draw.choice([True, False, self.one(0)]),
                "anyOf": lambda: [self.one(depth) for _ in range(2)],
            },
            0.25,
        )

    def _union(self, depth: int) -> dict[str, Any]:
        return {self.draw.choice(["anyOf", "oneOf"]): [self.one(depth) for _ in range(self.draw.randint(1, 3))]}

    def _all(self, depth: int) -> dict[str, Any]:
        return {"allOf": [self._object(depth), self.one(depth)]}

    def _reference(self, depth: int) -> dict[str, Any]:
        return {"$ref": self.draw.choice(["#/$defs/A", "#/$defs/B", "#/$defs/none"])}


def sample(constraint: Any, draw: random.Random) -> Any:
    """Return a random answer, or a text that has no end within the steps."""
    tokens, known = [], COMPILER._origin.tokens
    for step in range(STEPS):
        allowed = [int(token) for token in constraint.allowed().nonzero()[0] if token < len(known)]
        assert allowed, b"".join(known[token] for token in tokens)
        ends = [token for token in allowed if known[token] in (b'"', b"}", b"]", b"<end>")]
        token = draw.choice(ends if ends and draw.random() < step / 40 + 0.2 else allowed)
        if token == END:
            return json.loads(b"".join(known[one] for one in tokens))
        assert constraint.accept(token)
        tokens.append(token)
        if constraint.complete:
            return json.loads(b"".join(known[one] for one in tokens))
    return Ellipsis


def without(schema: dict[str, Any], paths: Sequence[Path]) -> Any:
    """Return the schema without the keywords at these paths."""
    changed = copy.deepcopy(schema)
    for path in paths:
        if not path:
            return True
        inner: Any = changed
        for key in path[:-1]:
            inner = inner[key] if not isinstance(inner, dict) or key in inner else {}
        inner.pop(path[-1], None)
    return changed


@pytest.mark.parametrize("seed", range(100))
def test_random_answers_are_valid(seed: int) -> None:
    """By the schema, without the keywords that are named as not enforced."""
    schema = Schemas(seed).whole()
    draw = random.Random(seed)
    _, relaxed = written_schema(schema, refusal_of)
    judge = jsonschema.Draft202012Validator(without(schema, relaxed))
    for _ in range(4):
        try:
            constraint = COMPILER.compile(OutputFormat(json_schema=json.dumps(schema)))
        except InvalidRequest as refused:
            assert re.search("nsatisfiable|nothing satisfies", refused.message)  # noqa: PT017
            return
        answer = sample(constraint, draw)
        if answer is not Ellipsis:
            judge.validate(answer)
