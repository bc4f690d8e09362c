"""JSON schemas of tools and formats: what can't be enforced is left out and named, and strict ones are refused."""

from typing import Any

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
    ({"type": "object", "dependentRequired": {"a": ["b"]}}, ".dependentRequired"),
    ({"anyOf": [{"type": "string"}, {"if": {"type": "string"}, "then": {"minLength": 1}}]}, ".anyOf[1].if"),
]


def both(schema: Any, **options: Any) -> list[tuple[dict[str, Any], str, str]]:
    """Requests with the schema, the parameter that errors name, and the path of the schema."""
    return [(tool(schema, **options), TOOL, TOOL), (answer(schema, **options), "response_format", ANSWER)]


def ask(client: httpx.Client, **parameters: Any) -> httpx.Response:
    return client.post(CHAT, json=PLAIN | parameters)


@pytest.mark.parametrize(("schema", "relaxed"), SCHEMAS, ids=str)
def test_what_no_grammar_expresses_is_left_out_and_named(
    model: httpx.Client, schema: dict[str, Any], relaxed: str
) -> None:
    """For a tool and for the answer alike; annotations are not named."""
    for asked, _, path in both(having(schema)):
        response = ask(model, **asked)
        assert response.status_code == 200, response.text
        named = response.headers.get("X-Jan-Relaxed")
        assert named == (f"{path}.properties.p{relaxed}" if relaxed else None)


def refused(response: httpx.Response, param: str, place: str) -> None:
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "invalid_schema", param)
    assert f"{place} " in error["message"]


@pytest.mark.parametrize(("schema", "relaxed"), SCHEMAS, ids=str)
def test_strict_schemas_are_enforced_or_refused(model: httpx.Client, schema: dict[str, Any], relaxed: str) -> None:
    """The error names the place; annotations say nothing that could be enforced."""
    for asked, param, path in both(having(schema), strict=True):
        response = ask(model, **asked)
        if relaxed:
            refused(response, param, f"{path}.properties.p{relaxed}")
        else:
            assert response.status_code == 200, response.text


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


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"properties": 5}, ".properties"),
        (having(5), ".properties"),
        (having({"type": "text"}), ".properties.p.type"),
        (having({"type": []}), ".properties.p.type"),
        (having({"enum": "a"}), ".properties.p.enum"),
        (having({"anyOf": []}), ".properties.p.anyOf"),
        (having({"minLength": -1}), ".properties.p.minLength"),
        (having({"maximum": "9"}), ".properties.p.maximum"),
        (having({"items": {"required": [1]}}), ".properties.p.items.required"),
        (having({"not": 3}), ".properties.p.not"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"multipleOf": 0}}}, ".$defs.a.multipleOf"),
    ],
    ids=str,
)
def test_what_is_no_schema_is_refused(model: httpx.Client, schema: dict[str, Any], place: str) -> None:
    """A mistake is named with its place, strict or not."""
    for asked, param, path in both(schema):
        refused(ask(model, **asked), param, path + place)
