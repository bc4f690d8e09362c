"""Output formats by all their names, in chats and in text completions."""

import json
import re
from typing import Any

import httpx
import pytest
from support.server import MODEL

pytestmark = pytest.mark.model

CHAT = "/api/v1/chat/completions"
COMPLETIONS = "/api/v1/completions"
SCHEMA = {"type": "object", "properties": {"a": {"const": "42"}}, "required": ["a"], "additionalProperties": False}
GBNF = 'root ::= "Ro" [m] "e" | "Oslo"'
LARK = 'start: "Rome" | "Oslo"'

FORMATS: list[tuple[dict[str, Any], str]] = [
    ({"structured_outputs": {"choice": ["Rome", "Oslo"]}}, "Rome|Oslo"),
    ({"structured_outputs": {"json": SCHEMA}}, r'\{"a": "42"\}'),
    ({"structured_outputs": {"json": json.dumps(SCHEMA)}}, r'\{"a": "42"\}'),
    ({"structured_outputs": {"grammar": GBNF}}, "Rome|Oslo"),
    ({"structured_outputs": {"regex": r"\d{3}", "grammar": None}}, "[0-9]{3}"),
    ({"guided_choice": ["100%json", "100%json"]}, "100%json"),
    ({"guided_regex": r"\d{3}"}, "[0-9]{3}"),
    ({"guided_grammar": LARK}, "Rome|Oslo"),
    ({"guided_json": SCHEMA}, r'\{"a": "42"\}'),
    ({"response_format": {"type": "json_object", "schema": SCHEMA}}, r'\{"a": "42"\}'),
    ({"response_format": {"type": "json_object", "value": SCHEMA}}, r'\{"a": "42"\}'),
    ({"response_format": {"type": "regex", "value": "[ab]"}}, "[ab]"),
    ({"response_format": {"type": "grammar", "grammar": GBNF}}, "Rome|Oslo"),
    ({"regex": "[ab]{2}"}, "[ab]{2}"),
    ({"regex_pattern": "[ab]{2}"}, "[ab]{2}"),
    ({"ebnf": GBNF}, "Rome|Oslo"),
    ({"grammar": GBNF}, "Rome|Oslo"),
    ({"grammar_string": LARK}, "Rome|Oslo"),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}, r'\{"a": "42"\}'),
    ({"json_schema": SCHEMA}, r'\{"a": "42"\}'),
    ({"json_schema": json.dumps(SCHEMA)}, r'\{"a": "42"\}'),
]


def ask(client: httpx.Client, path: str, **parameters: Any) -> httpx.Response:
    prompt = {"messages": [{"role": "user", "content": "The capital of Italy?"}]}
    body = prompt if path == CHAT else {"prompt": "The capital of Italy is"}
    return client.post(path, json={"model": MODEL, "max_tokens": 12, "temperature": 0, **body, **parameters})


@pytest.mark.parametrize(("number", "asked", "form"), [(at, *one) for at, one in enumerate(FORMATS)], ids=str)
def test_each_format_is_enforced(model: httpx.Client, number: int, asked: dict[str, Any], form: str) -> None:
    """The whole answer has the form, and nothing is said to be ignored. Both endpoints read formats by the same
    code, so each of them gets every other one."""
    path = (CHAT, COMPLETIONS)[number % 2]
    response = ask(model, path, **asked)
    assert response.status_code == 200, response.text
    assert "x-jan-ignored" not in response.headers
    choice = response.json()["choices"][0]
    text = choice["message"]["content"] if path == CHAT else choice["text"]
    assert re.fullmatch(form, text), text


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS], ids=["chat", "text"])
@pytest.mark.parametrize(
    ("asked", "code", "param"),
    [
        ({"grammar": "root ::= other"}, "invalid_schema", "grammar"),
        ({"ebnf": "root ::= other"}, "invalid_schema", "grammar"),
        ({"guided_regex": "("}, "invalid_schema", "guided_regex"),
        ({"regex": "("}, "invalid_schema", "regex"),
        ({"json_schema": "[1]"}, "invalid_schema", "json_schema"),
        ({"guided_json": {"type": "sth"}}, "invalid_schema", "guided_json"),
        ({"structured_outputs": {"grammar": "start: %"}}, "invalid_schema", "structured_outputs.grammar"),
        (
            {"structured_outputs": {"structural_tag": "x"}},
            "unsupported_parameter",
            "structured_outputs.structural_tag",
        ),
        ({"guided_regex": "a", "grammar": GBNF}, "invalid_value", "grammar"),
        ({"response_format": {"type": "structural_tag"}}, "invalid_value", "response_format.type"),
    ],
    ids=str,
)
def test_what_can_not_be_enforced_is_refused(
    model: httpx.Client, path: str, asked: dict[str, Any], code: str, param: str
) -> None:
    """Never an answer without the form that was asked for."""
    response = ask(model, path, **asked)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert (error["code"], error["param"]) == (code, param)
