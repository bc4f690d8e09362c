"""JSON schemas of tools and formats: what can't be enforced is left out and named, and strict ones are refused."""

from typing import Any
from urllib.parse import quote

import httpx
import pytest
from support.server import MODEL

pytestmark = pytest.mark.model

CHAT = "/api/v1/chat/completions"
PLAIN: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
TOOL = "tools[0].function.parameters"
ANSWER = "response_format.json_schema.schema"


def tool(schema: Any, **options: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "f", "parameters": schema, **options}}]}


def answer(schema: Any, **options: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema, **options}}}


def having(schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"p": schema}}


# A schema of a property, and the keyword in it that no grammar expresses; "" if there is none.
SCHEMAS: list[tuple[dict[str, Any], str]] = [
    ({"type": "string", "format": "password"}, ""),
    ({"type": "integer", "format": "int64"}, ""),
    ({"type": "string", "format": "uri-reference"}, ""),
    ({"type": "array", "items": {"type": "string"}, "uniqueItems": False}, ""),
    ({"type": "string", "x-order": 1, "deprecated": True, "$comment": "x", "nullable": True}, ""),
    (
        {"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": {"type": "string"}},
        ".propertyNames",
    ),
    ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, ".uniqueItems"),
    ({"type": "array", "contains": {"type": "string"}, "minContains": 2}, ".contains"),
    ({"type": "string", "not": {"enum": ["a"]}}, ".not"),
    ({"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}, ""),
    ({"type": "number", "minimum": -3.4e38, "maximum": 3.4e38}, ""),
    ({"type": "integer", "minimum": 2**63}, ".minimum"),
    ({"type": "integer", "minimum": 2**60, "maximum": 2**63 - 1}, ""),
    ({"type": "number", "multipleOf": 0.07}, ".multipleOf"),
    ({"type": "integer", "multipleOf": 2**70}, ".multipleOf"),
    ({"type": "number", "multipleOf": 1e300}, ".multipleOf"),
    ({"type": "string", "pattern": "^(?=a)"}, ".pattern"),
    ({"type": "string", "pattern": r"\bfoo"}, ".pattern"),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, ".oneOf"),
    ({"oneOf": [having({"const": 1}) | {"required": ["p"]}, {"type": "null"}]}, ""),
    ({"type": "object", "patternProperties": {"^a": {}, "b$": {}}}, ".patternProperties.b$"),
    ({"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "minProperties": 2}, ".minProperties"),
    ({"$ref": "https://a.example/schema.json"}, ".$ref"),
    ({"$ref": "#/properties/p"}, ".$ref"),
    ({"type": "object", "dependentRequired": {"a": ["b"]}}, ".dependentRequired"),
    ({"anyOf": [{"type": "string"}, {"if": {"type": "string"}, "then": {"minLength": 1}}]}, ".anyOf[1].if"),
]


def ask(client: httpx.Client, **parameters: Any) -> httpx.Response:
    return client.post(CHAT, json=PLAIN | parameters)


@pytest.mark.parametrize(("schema", "relaxed"), SCHEMAS, ids=lambda one: str(one)[:60])
def test_what_no_grammar_expresses_is_left_out_and_named(
    model: httpx.Client, schema: dict[str, Any], relaxed: str
) -> None:
    """Annotations are not named."""
    response = ask(model, **answer(having(schema)))
    assert response.status_code == 200, response.text
    named = response.headers.get("X-Jan-Relaxed")
    assert named == (quote(f"{ANSWER}.properties.p{relaxed}", safe="[]$.^") if relaxed else None)


def refused(response: httpx.Response, param: str, place: str) -> None:
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "invalid_schema", param)
    assert f"{place} " in error["message"]


@pytest.mark.parametrize(("schema", "relaxed"), SCHEMAS, ids=lambda one: str(one)[:60])
def test_strict_schemas_are_enforced_or_refused(model: httpx.Client, schema: dict[str, Any], relaxed: str) -> None:
    """The error names the place; annotations say nothing that could be enforced."""
    response = ask(model, **tool(having(schema), strict=True))
    if relaxed:
        refused(response, TOOL, f"{TOOL}.properties.p{relaxed}")
    else:
        assert response.status_code == 200, response.text


def test_strict_holds_for_answers_too(model: httpx.Client) -> None:
    """Only the schema of a tool, and that of json_schema, can be strict."""
    response = ask(model, **answer(having({"not": {"type": "null"}}), strict=True))
    refused(response, "response_format", f"{ANSWER}.properties.p.not")


def test_a_huge_enum_is_left_out(model: httpx.Client) -> None:
    """It would take too long to compile; a strict one is refused."""
    schema = having({"enum": [f"v{number}" for number in range(2500)]})
    assert ask(model, **answer(schema)).headers["X-Jan-Relaxed"] == f"{ANSWER}.properties.p.enum"
    assert ask(model, **answer(schema, strict=True)).status_code == 400


def test_the_place_of_a_tool_is_that_in_the_request(model: httpx.Client) -> None:
    """Also where only one of the tools may be called."""
    tools = [
        {"type": "function", "function": {"name": name, "parameters": having({"not": {"type": "null"}})}}
        for name in ("f", "g")
    ]
    named = ask(model, tools=tools, tool_choice={"type": "function", "function": {"name": "g"}})
    assert named.headers["X-Jan-Relaxed"] == "tools[1].function.parameters.properties.p.not"
    every = ask(model, tools=tools, stream=True)
    assert every.headers["X-Jan-Relaxed"].count("function.parameters.properties.p.not") == 2


# Schemas with a mistake, and the place that has it.
MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"properties": 5}, ".properties"),
    ({"properties": ["p"]}, ".properties"),
    ({"required": "p"}, ".required"),
    ({"type": "any"}, ".type"),
    ({"type": ["object", "dict"]}, ".type"),
    ({"additionalProperties": "no"}, ".additionalProperties"),
    (having(5), ".properties.p"),
    (having(None), ".properties.p"),
    (having({"type": "text"}), ".properties.p.type"),
    (having({"type": []}), ".properties.p.type"),
    (having({"format": 5}), ".properties.p.format"),
    (having({"enum": "a"}), ".properties.p.enum"),
    (having({"anyOf": []}), ".properties.p.anyOf"),
    (having({"anyOf": [{"type": "null"}, "string"]}), ".properties.p.anyOf[1]"),
    (having({"minLength": -1}), ".properties.p.minLength"),
    (having({"maximum": "9"}), ".properties.p.maximum"),
    (having({"items": 5}), ".properties.p.items"),
    (having({"items": {"required": [1]}}), ".properties.p.items.required"),
    (having({"$ref": 7}), ".properties.p.$ref"),
    (having({"not": 3}), ".properties.p.not"),
    (having({"type": "string", "pattern": "a)"}), ".properties.p.pattern"),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"multipleOf": 0}}}, ".$defs.a.multipleOf"),
]


@pytest.mark.parametrize(("schema", "place"), MALFORMED, ids=str)
def test_a_mistake_in_a_strict_tool_is_refused(model: httpx.Client, schema: dict[str, Any], place: str) -> None:
    """The error names the place."""
    refused(ask(model, **tool(schema, strict=True)), TOOL, TOOL + place)


@pytest.mark.parametrize("choice", ["auto", "required"])
def test_a_mistake_is_left_out_of_a_tool_and_named(model: httpx.Client, choice: str) -> None:
    """Odd tools among many must not fail each request."""
    some = MALFORMED[::2] if choice == "auto" else MALFORMED[1::2]
    tools = [tool(schema, name=f"f{at}")["tools"][0] for at, (schema, _) in enumerate(some)]
    response = ask(model, tools=tools, tool_choice=choice)
    assert response.status_code == 200, response.text
    places = [f"tools[{at}].function.parameters{place}" for at, (_, place) in enumerate(some)]
    assert response.headers["X-Jan-Relaxed"] == quote(", ".join(places), safe="[]$., ")


@pytest.mark.parametrize("strict", [True, False])
def test_a_mistake_in_a_format_is_refused(model: httpx.Client, strict: bool) -> None:
    """Nothing else was asked for."""
    schema = having({"type": "any"})
    refused(ask(model, **answer(schema, strict=strict)), "response_format", f"{ANSWER}.properties.p.type")


def test_the_rest_of_a_schema_with_a_mistake_is_enforced(model: httpx.Client) -> None:
    """Properties are checked one by one."""
    schema = {"type": "dict", "properties": {"p": {"const": 1}, "q": None}, "required": ["p", "q"]}
    asked = tool(schema) | {"tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 100}
    response = ask(model, **asked)
    assert response.headers["X-Jan-Relaxed"] == f"{TOOL}.type, {TOOL}.properties.q"
    (call,) = response.json()["choices"][0]["message"]["tool_calls"]
    assert call["function"]["arguments"].startswith('{"p": 1, "q": ')


def test_an_empty_list_of_values_is_left_out_of_a_tool(model: httpx.Client) -> None:
    """A server of tools writes one while it has nothing to choose from."""
    schema = having({"enum": []}) | {"required": ["p"]}
    assert ask(model, **tool(schema)).headers["X-Jan-Relaxed"] == f"{TOOL}.properties.p.enum"
    assert ask(model, **tool(schema, strict=True)).status_code == 400


def test_a_text_that_is_nested_too_deeply_is_refused(model: httpx.Client) -> None:
    """A schema that comes as text is nested as deeply as its length allows."""
    error = ask(model, guided_json='{"items":' * 700 + "true" + "}" * 700).json()["error"]
    assert (error["code"], error["param"]) == ("invalid_schema", "guided_json")
    assert "deep" in error["message"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"p": False}, "required": ["p"]},
        having({"type": "integer"}) | {"allOf": [having({"type": "string"}) | {"required": ["p"]}]},
        {"type": "object", "minProperties": 2, "maxProperties": 1},
        having({"type": "string", "pattern": "^aaa", "maxLength": 2}) | {"required": ["p"]},
    ],
    ids=str,
)
def test_a_schema_that_nothing_satisfies_is_refused(model: httpx.Client, schema: dict[str, Any]) -> None:
    """The parameter that has it is named."""
    error = ask(model, **tool(schema)).json()["error"]
    assert (error["code"], error["param"]) == ("invalid_schema", TOOL)
    assert "nsatisfiable" in error["message"]


@pytest.mark.parametrize(
    "schema", [{"type": "string"}, {"const": 5}, {"enum": ["a"]}, {"anyOf": [{"type": "null"}]}]
)
def test_arguments_are_an_object(model: httpx.Client, schema: dict[str, Any]) -> None:
    """Parameters that allow no object are refused, whether or not the model must call the tool."""
    for choice in ("auto", "required"):
        response = ask(model, **tool(schema), tool_choice=choice)
        error = response.json()["error"]
        assert (response.status_code, error["code"], error["param"]) == (400, "invalid_schema", TOOL)


def test_a_call_has_no_arguments_but_those_listed(model: httpx.Client) -> None:
    """The model would go on with others of its own."""
    schema = {"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"p": {"const": 1}}, "required": ["p"]}}}
    asked = tool(schema) | {"tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 60}
    (call,) = ask(model, **asked).json()["choices"][0]["message"]["tool_calls"]
    assert call["function"]["arguments"] == '{"p": 1}'


@pytest.mark.parametrize("number", [2**63, 2**70, -(2**70)])
def test_a_number_may_have_any_size(model: httpx.Client, number: int) -> None:
    """Such numbers come from the limits of other languages' types."""
    limits = {"maximum": number, "const": number, "enum": [number], "default": number}
    properties = {name: {"type": "integer", name: limit} for name, limit in limits.items()}
    response = ask(model, **tool({"type": "object", "properties": properties}))
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    "endless",
    [
        {"type": "object"} | having({"$ref": "#"}) | {"required": ["p"]},
        {"type": "object"}
        | having({"type": "array", "items": {"$ref": "#"}, "minItems": 1})
        | {"required": ["p"]},
        {"type": "object"} | having({"anyOf": [{"$ref": "#"}, {"allOf": [{"$ref": "#"}]}]}) | {"required": ["p"]},
    ],
    ids=str,
)
def test_an_endless_format_is_refused_by_name(model: httpx.Client, endless: dict[str, Any]) -> None:
    """Here each object must have another one within, which is found before a stream begins."""
    response = ask(model, **tool(endless), tool_choice="required", stream=True)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert (error["code"], error["param"]) == ("invalid_schema", TOOL)
    assert "nsatisfiable" in error["message"]


def test_a_recursion_that_can_end_is_enforced(model: httpx.Client) -> None:
    """A list may be empty, an alternative may end, and what never ends may be left out."""
    endless = {"type": "object", "properties": {"p": {"$ref": "#/$defs/endless"}}, "required": ["p"]}
    properties = {
        "list": {"type": "array", "items": {"$ref": "#"}},
        "choice": {"anyOf": [{"$ref": "#"}, {"type": "null"}, {"$ref": "#/$defs/endless"}]},
        "never": {"$ref": "#/$defs/endless"},
    }
    schema = {
        "type": "object",
        "properties": properties,
        "required": ["list", "choice"],
        "$defs": {"endless": endless},
    }
    response = ask(model, **tool(schema), tool_choice="required", max_tokens=8)
    assert response.status_code == 200, response.text
    assert "x-jan-relaxed" not in response.headers
