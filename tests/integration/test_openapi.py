"""The OpenAPI document: valid, complete, and true; each of its examples is replayed on a real model."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import yaml
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from support.command import run_jan
from support.server import DEFAULT_CONFIG

from jan.routing.openapi import build_document
from jan.routing.table import audit_table, resolve_routes
from jan.settings.load import load_settings

Document = dict[str, Any]


def _default_document() -> Document:
    """What the default configuration serves; made here as well because tests are collected before a server
    runs, and shown to be the served one below."""
    settings = load_settings(DEFAULT_CONFIG, environ={})
    return build_document(resolve_routes(settings.routes, settings.server.api_prefixes))


def _operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


# Path parameters that name something of the caller's: made anew for each example.
_MAKERS: dict[str, tuple[str, Callable[[], Document]]] = {
    "key_id": ("/api/v1/user/api-keys", lambda: {"name": "to be changed"}),
    "user_id": ("/api/v1/users", lambda: {"email": f"{uuid4()}@example.org"}),
    "response_id": (
        "/api/v1/responses",
        lambda: {"model": "jan-v1-4b", "input": "Hello!", "max_output_tokens": 4},
    ),
    "preset_id": ("/api/v1/user/presets", lambda: {"name": str(uuid4())}),
    "conversation_id": ("/api/v1/conversations", lambda: {"title": "An example"}),
    "completion_id": (
        "/api/v1/chat/completions",
        lambda: {
            "model": "jan-v1-4b",
            "messages": [{"role": "user", "content": "Hello!"}],
            "max_tokens": 4,
            "on_disconnect": "finish",
            "store": True,
        },
    ),
}
# They take the token of a session, or a provider, which this server has not; test_tokens.py and
# test_google_sign_in.py have them.
_NEED_MORE = (
    "/api/v1/auth/refresh",
    "/api/v1/auth/logout",
    # Only pages of the server may call it; test_browser_sessions.py has it.
    "post /api/v1/auth/session",
    "delete /api/v1/auth/session",
    "/api/v1/user/sessions/{session_id}",
    "/auth/google",
    "/auth/google/callback",
    # The response of the examples was not made in the background; test_background_responses.py has it.
    "/api/v1/responses/{response_id}/cancel",
    # The administrator is the last one; test_user_deletion.py has it.
    "delete /api/v1/user/profile",
    # Links are off by default; test_shares.py has them.
    "post /api/v1/conversations/{conversation_id}/shares",
    "/api/v1/user/shares/{share_id}",
    "/api/v1/shared",
    # An item is one of a conversation's; test_items.py has it.
    "/api/v1/conversations/{conversation_id}/items/{item_id}",
)


class Form(dict[str, str]):
    """An example of a form, by the names of its files."""


def _examples(document: Document) -> Iterator[Any]:
    """Every example: method, path with its examples filled in, body, operation."""
    for path, method, operation in _operations(document):
        if path in _NEED_MORE or f"{method} {path}" in _NEED_MORE:
            continue
        url = path
        for parameter in operation.get("parameters", ()):
            if "example" in parameter:
                url = url.replace(f"{{{parameter['name']}}}", parameter["example"])
            if parameter["in"] == "query" and parameter["required"]:
                url += f"?{parameter['name']}={parameter['schema']['examples'][0]}"
        name = f"{method} {url}"
        contents = operation.get("requestBody", {}).get("content", {})
        if not contents:
            yield pytest.param(method, url, None, operation, id=name)
        for kind, content in contents.items():
            for slug, example in content["examples"].items():
                body = Form(example["value"]) if kind == "multipart/form-data" else example["value"]
                yield pytest.param(method, url, body, operation, id=f"{name} {slug} {kind.partition('/')[2]}")


def _audit() -> list[tuple[str, str, str, str]]:
    """URL as the document writes it, method, access, limit class."""
    settings = load_settings(DEFAULT_CONFIG, environ={})
    rows = audit_table(resolve_routes(settings.routes, settings.server.api_prefixes))
    return [(row[0].replace(":path}", "}"), *row[1:4]) for row in rows]


_DOCUMENT = _default_document()
# APIs with errors of another form than OpenAI's.
_ENVELOPES = {r"/api/v1/messages": "MessagesErrorEnvelope", r"/api/(?!v1|swagger|openapi)": "OllamaError"}
_AUDIT = _audit()


def _validate(instance: Any, schema: Document) -> None:
    """Raises jsonschema.ValidationError where the instance departs from a schema of the document."""
    Draft202012Validator({**schema, "components": _DOCUMENT["components"]}).validate(instance)


def _events(response: httpx.Response) -> list[str]:
    """The data of each event of a stream; comments are none."""
    events = re.sub(r"^:.*\n", "", response.text, flags=re.MULTILINE)
    blocks = [block for block in events.split("\n\n") if block]
    data = [re.sub(r"\A(id|event): .+\n", "", block) for block in blocks]
    assert all(block.startswith("data: ") for block in data)
    return [block.removeprefix("data: ") for block in data]


def test_the_served_document_is_what_the_command_prints(echo: httpx.Client, tmp_path: Path) -> None:
    """GET /api/openapi.json and `jan openapi` give the same document."""
    ran = run_jan("openapi", "--config", str(DEFAULT_CONFIG), cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    served = echo.get("/api/openapi.json")
    assert served.headers["content-type"] == "application/json"
    assert served.json() == json.loads(ran.stdout) == _DOCUMENT


def test_the_document_is_valid_openapi_3_1() -> None:
    """openapi-spec-validator has nothing to say against it."""
    assert _DOCUMENT["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(_DOCUMENT).iter_errors()] == []


def test_every_route_is_documented() -> None:
    """Each URL of the YAML table is a path of the document, under the first API prefix, and nothing else is."""
    table = yaml.safe_load(DEFAULT_CONFIG.read_text())["routes"]
    wanted = {route["path"].replace("{api}", "/api/v1").replace(":path}", "}") for route in table}
    assert set(_DOCUMENT["paths"]) == wanted


@pytest.mark.parametrize(("path", "method", "operation"), list(_operations(_DOCUMENT)))
def test_every_operation_says_what_it_does_and_who_may_call(path: str, method: str, operation: Document) -> None:
    """Summary, description, tag, a unique name, and security: none is public, `{}` says that there is a way
    without credentials, and the others are ways to send them."""
    assert operation["summary"]
    assert operation["description"]
    assert operation["tags"]
    access = {row[1]: row[2] for row in _AUDIT if row[0] == path}[method.upper()]
    assert (operation["security"] == []) == (access == "public")
    assert ({} in operation["security"]) == access.startswith("anonymous")
    schemes = {name for rule in operation["security"] for name in rule}
    assert schemes in (set(), {"bearer", "x-api-key", "api-key", "cookie"})
    assert all(len(rule) <= 1 for rule in operation["security"])
    names = [other["operationId"] for _, _, other in _operations(_DOCUMENT)]
    assert names.count(operation["operationId"]) == 1


@pytest.mark.parametrize(("path", "method", "operation"), list(_operations(_DOCUMENT)))
def test_every_error_is_documented_with_the_envelope(path: str, method: str, operation: Document) -> None:
    """Each error response has words, the envelope's schema, and an example that the schema accepts; an
    operation that takes a body documents what can be wrong with it."""
    errors = {status: response for status, response in operation["responses"].items() if status >= "400"}
    assert "500" in errors
    assert {"400", "413", "415"} <= set(errors) or "requestBody" not in operation
    for response in errors.values():
        content = response["content"]["application/json"]
        assert response["description"]
        envelope = next((name for pattern, name in _ENVELOPES.items() if re.match(pattern, path)), "ErrorEnvelope")
        assert content["schema"] == {"$ref": f"#/components/schemas/{envelope}"}
        _validate(content["example"], content["schema"])


def test_every_body_has_an_example_that_its_schema_accepts() -> None:
    """A person who tries an endpoint out finds a body to begin with."""
    for _path, _method, operation in _operations(_DOCUMENT):
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            assert content["examples"]
            for example in content["examples"].values():
                # A body that is lines of JSON is printed as text; the schema is that of each line.
                value = example["value"]
                for item in map(json.loads, value.splitlines()) if kind == "application/jsonl" else [value]:
                    _validate(item, content["schema"])


@pytest.mark.model
@pytest.mark.parametrize(("method", "url", "body", "operation"), list(_examples(_DOCUMENT)))
def test_examples_work_as_printed(
    model_admin: httpx.Client, method: str, url: str, body: Any, operation: Document
) -> None:
    """Each example gets a 200 of a documented type; the body, or each event of a stream up to [DONE],
    is what its schema says. One that can only lead elsewhere leads to what is there."""
    for name, (maker, new) in _MAKERS.items():
        if f"{{{name}}}" in url:
            url = url.replace(f"{{{name}}}", model_admin.post(maker, json=new()).json()["id"])
    sent: dict[str, Any] = {"content": body} if isinstance(body, str) else {"json": body}
    if isinstance(body, Form):
        sent = {"files": body}
    response = model_admin.request(method, url, **sent)
    if "200" not in operation["responses"]:
        assert response.status_code == 302
        assert model_admin.send(response.next_request).status_code == 200
        return
    assert response.status_code == 200, response.text
    kind = response.headers["content-type"].partition(";")[0]
    schema = operation["responses"]["200"]["content"][kind].get("schema")
    if kind == "text/event-stream":
        events = _events(response)
        # Only OpenAI's older APIs end with a mark that is no event.
        if "/completions" in url:
            assert events.pop() == "[DONE]"
        assert events
        for event in events:
            _validate(json.loads(event), schema)
    elif schema is not None:
        _validate(response.json(), schema)


@pytest.mark.model
def test_the_example_with_a_schema_answers_in_that_schema(model: httpx.Client) -> None:
    """The example that asks for a shape gets an answer of that shape, unless it was cut off by length."""
    examples = _DOCUMENT["paths"]["/api/v1/chat/completions"]["post"]["requestBody"]["content"]
    body = examples["application/json"]["examples"]["an-answer-of-a-given-shape"]["value"]
    choice = model.post("/api/v1/chat/completions", json=body).json()["choices"][0]
    assert choice["finish_reason"] in ("stop", "length")
    if choice["finish_reason"] == "stop":
        wanted = body["response_format"]["json_schema"]["schema"]
        Draft202012Validator(wanted).validate(json.loads(choice["message"]["content"]))


def test_errors_on_the_wire_are_what_the_document_says(echo: httpx.Client) -> None:
    """A refused request's body is what the schema of its status says."""
    refused = echo.post("/api/v1/chat/completions", json={"model": "nobody", "messages": []})
    operation = _DOCUMENT["paths"]["/api/v1/chat/completions"]["post"]
    content = operation["responses"][str(refused.status_code)]["content"]["application/json"]
    _validate(refused.json(), content["schema"])


@pytest.mark.parametrize(("path", "method", "operation"), list(_operations(_DOCUMENT)))
def test_limits_are_documented_where_there_are_any(path: str, method: str, operation: Document) -> None:
    """A limited operation has a 429 and, on every response, the headers about limits. Others have not."""
    limited = {row[0]: row[3] for row in _AUDIT if row[1] == method.upper()}[path] != "none"
    assert ("429" in operation["responses"]) == limited
    for status, response in operation["responses"].items():
        names = set(response.get("headers", ()))
        assert ("X-RateLimit-Remaining" in names) == limited
        assert ({"retry-after", "retry-after-ms", "x-should-retry"} <= names) == (status == "429")
        for reference in response.get("headers", {}).values():
            assert reference["$ref"].removeprefix("#/components/headers/") in _DOCUMENT["components"]["headers"]


@pytest.mark.parametrize(
    ("path", "method", "statuses"),
    [
        ("/api/v1/chat/completions", "post", {"404", "409", "503"}),
        ("/auth/google", "get", {"302", "503"}),
        ("/auth/google/callback", "get", {"200", "302", "503"}),
        ("/api/v1/user/api-keys", "post", {"503"}),
    ],
)
def test_statuses_that_were_once_left_out(path: str, method: str, statuses: set[str]) -> None:
    """A repeated message id, a redirect, a store that is away; every response has its request id."""
    responses = _DOCUMENT["paths"][path][method]["responses"]
    assert statuses <= set(responses)
    assert ("200" in responses) == (path != "/auth/google")
    assert all("X-Request-Id" in response["headers"] for response in responses.values())


@pytest.mark.parametrize("role", ["system", "developer", "tool"])
def test_a_part_says_what_it_is(echo: httpx.Client, role: str) -> None:
    """As the document says, a part of a message's content has a type, also where only text may be."""
    message = {"role": role, "content": [{"text": "Hello!"}], **({"tool_call_id": "1"} if role == "tool" else {})}
    answer = echo.post("/api/v1/chat/completions", json={"model": "echo", "messages": [message]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value")
    message["content"] = [{"type": "text", "text": "Hello!"}]
    answer = echo.post("/api/v1/chat/completions", json={"model": "echo", "messages": [message]})
    assert answer.json()["choices"][0]["message"]["content"] == "Hello!"
