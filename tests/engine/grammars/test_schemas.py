"""What a JSON schema lets a model write: compared with texts that the schema accepts or refuses."""

import json
from typing import Any

import pytest

pytest.importorskip("llguidance")

from jan.engine.formats import OutputFormat
from jan.engine.grammars.constraint import GrammarCompiler, Vocabulary

END = 256
COMPILER = GrammarCompiler(
    Vocabulary(
        [bytes([value]) for value in range(256)] + [b"<end>"], [END], [END], lambda text: list(text.encode())
    )
)


def accepts(schema: Any, value: Any) -> bool:
    """Return True if an answer that must fit the schema may be this value."""
    constraint = COMPILER.compile(OutputFormat(json_schema=json.dumps(schema)))
    assert constraint is not None
    tokens = json.dumps(value, ensure_ascii=False).encode()
    return all(map(constraint.accept, tokens)) and constraint.accept(END)


A, B = {"properties": {"a": {"type": "integer"}}}, {"properties": {"b": {"type": "integer"}}, "required": ["b"]}
NAMED = {"$defs": {"A": A, "Tree": {"properties": {"down": {"$ref": "#/$defs/Tree"}}}}}


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        (A, {"a": 1}, {"a": 1, "c": 1}),
        (A | {"additionalProperties": True}, {"a": 1, "c": 1}, {"a": "1"}),
        (A | {"additionalProperties": {"type": "null"}}, {"a": 1, "c": None}, {"a": 1, "c": 1}),
        ({"type": "object", "properties": {}}, {"c": 1}, 1),
        ({"type": "object"}, {"c": 1}, 1),
        (A | {"required": ["c"]}, {"a": 1, "c": 1}, {"a": 1, "c": 1, "d": 1}),
        ({"allOf": [A, B]}, {"a": 1, "b": 1}, {"a": 1, "b": 1, "c": 1}),
        ({"allOf": [A], "required": ["c"]}, {"a": 1, "c": 1}, {"c": 1, "d": 1}),
        ({"anyOf": [A, B]}, {"b": 1}, {"a": 1, "b": 1}),
        (A | {"anyOf": [B, {"required": ["c"]}]}, {"a": 1, "b": 1}, {"a": 1, "b": 1, "c": 1}),
        (A | {"oneOf": [{"properties": {"c": {"const": 1}}, "required": ["c"]}]}, {"a": 1, "c": 1}, {"a": 1}),
        (NAMED | {"$ref": "#/$defs/A"}, {"a": 1}, {"c": 1}),
        (NAMED | {"allOf": [{"$ref": "#/$defs/A"}, B]}, {"a": 1, "b": 1}, {"b": 1, "c": 1}),
        (NAMED | {"$ref": "#/$defs/A", "properties": {"c": {}}}, {"a": 1, "c": 1}, {"c": 1, "d": 1}),
        (NAMED | {"$ref": "#/$defs/Tree"}, {"down": {"down": {}}}, {"down": {"up": {}}}),
        (A | {"if": A, "then": {"properties": {"c": {"type": "null"}}}}, {"a": 1, "c": None}, {"a": 1, "c": 1}),
        (A | {"unevaluatedProperties": False}, {"a": 1}, {"c": 1}),
        ({"allOf": [A], "unevaluatedProperties": False}, {"a": 1}, {"c": 1}),
        ({"type": "object", "unevaluatedProperties": False}, {}, {"c": 1}),
        (A | {"patternProperties": {"^x": {"type": "null"}}}, {"a": 1, "x1": None}, {"c": None}),
    ],
    ids=str,
)
def test_objects_have_no_properties_but_those_listed(schema: Any, right: Any, wrong: Any) -> None:
    """Wherever they are listed. An object that lists none, or speaks of others, is open."""
    assert accepts(schema, right)
    assert not accepts(schema, wrong)


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"minimum": 3, "exclusiveMinimum": True, "type": "integer"}, 4, 3),
        ({"maximum": 3, "exclusiveMaximum": False, "type": "integer"}, 3, 4),
        ({"items": [{"type": "null"}], "additionalItems": {"type": "integer"}, "type": "array"}, [None, 1], [1]),
        ({"prefixItems": [{"type": "null"}], "items": False, "type": "array"}, [None], [None, 1]),
        ({"definitions": {"a": {"const": 1}}, "$ref": "#/definitions/a"}, 1, 2),
        ({"$defs": {"a": {"$anchor": "x", "const": 1}}, "$ref": "#x"}, 1, 2),
        ({"$id": "https://a.example/b", "$defs": {"a": {"$id": "c", "const": 1}}, "$ref": "c"}, 1, 2),
        ({"$defs": {"a/b%": {"const": 1}}, "$ref": "#/$defs/a~1b%25"}, 1, 2),
        ({"type": ["string", "null"], "minLength": 2}, None, "a"),
        ({"minLength": 2.0, "type": "string"}, "ab", "a"),
        ({"const": {"a": [1, None]}}, {"a": [1, None]}, {"a": [1]}),
        ({"enum": ["a", 1, None, [True]]}, [True], True),
        ({"properties": None, "required": None, "type": "integer"}, 1, "a"),
        ({"properties": {"a": {"not": {}}, "b": {}}}, {"b": 1}, {"a": 1}),
        ({"properties": {"a": {"type": "null", "required": True}}}, {"a": None}, {"a": 1}),
    ],
    ids=str,
)
def test_keywords_of_all_drafts_are_enforced(schema: Any, right: Any, wrong: Any) -> None:
    """The forms of drafts 4 to 2020-12 are recognised without a ``$schema``."""
    assert accepts(schema, right)
    assert not accepts(schema, wrong)
