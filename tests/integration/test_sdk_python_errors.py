"""The `openai` Python SDK of today: every refusal and failure arrives as the SDK's own exception."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import openai
import pytest
from support.sdk import REQUEST_ID, TEXT, StartServer, ask, connect, measured, said
from support.server import MODEL, ServerProcess

pytestmark = pytest.mark.sdk


@pytest.fixture(scope="module")
def client(echo_server: ServerProcess) -> Iterator[openai.OpenAI]:
    with connect(echo_server) as client:
        yield client


@pytest.mark.parametrize(
    ("wrong", "param", "code"),
    [
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "invalid_value"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_request"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_request"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_request"),
        ({"messages": [{"role": "user", "content": "x " * 5000}]}, "messages", "context_length_exceeded"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content[0]",
            "unsupported_content",
        ),
    ],
)
def test_bad_requests(client: openai.OpenAI, wrong: dict[str, Any], param: str, code: str) -> None:
    """A request that can't be served is a BadRequestError that names the field and has a code."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{**ask(), **wrong})
    error = caught.value
    assert (error.status_code, error.param, error.code) == (400, param, code)
    assert error.type == "invalid_request_error"
    assert REQUEST_ID.fullmatch(error.request_id or "")


def test_a_stream_that_can_not_begin_raises_at_once(client: openai.OpenAI) -> None:
    """A refused stream is a response of status 400, so the call itself raises, not the first iteration."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**ask("x " * 5000), stream=True)
    assert caught.value.code == "context_length_exceeded"
    assert all(number in caught.value.message for number in ("5000", "4096"))


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.chat.completions.create(**ask(model="gpt-4o")),
        lambda client: client.completions.create(model="gpt-4o", prompt="x"),
        lambda client: client.models.retrieve("gpt-4o"),
    ],
    ids=["chat", "completions", "models"],
)
def test_unknown_model(client: openai.OpenAI, call: Callable[[openai.OpenAI], Any]) -> None:
    """A model that is not here is a NotFoundError that names those that are."""
    with pytest.raises(openai.NotFoundError) as caught:
        call(client)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert MODEL in caught.value.message
    assert REQUEST_ID.fullmatch(caught.value.request_id or "")


def test_unknown_endpoint(client: openai.OpenAI) -> None:
    """An endpoint of OpenAI's that is not served is a NotFoundError too, told apart by its code."""
    with pytest.raises(openai.NotFoundError) as caught:
        client.moderations.create(input="x")
    assert (caught.value.code, caught.value.param) == ("endpoint_not_served", None)


@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        (lambda c: c.chat.completions.create(**ask("x" * 5_000_000)), 413, "body_too_large"),
        (
            lambda c: c.chat.completions.create(**ask(), extra_headers={"Content-Type": "text/xml"}),
            415,
            "unsupported_media_type",
        ),
        (lambda c: c.post("/models", cast_to=object, body={}), 405, "method_not_allowed"),
    ],
    ids=["413", "415", "405"],
)
def test_other_statuses(client: openai.OpenAI, call: Callable[..., Any], status: int, code: str) -> None:
    """Statuses without a class of their own are an APIStatusError with status, code and request id."""
    with pytest.raises(openai.APIStatusError) as caught:
        call(client)
    assert type(caught.value) is openai.APIStatusError
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert REQUEST_ID.fullmatch(caught.value.request_id or "")


def test_missing_credentials(start_server: StartServer) -> None:
    """Where anonymous requests are refused, a request without credentials is an AuthenticationError."""
    server = start_server("access: {anonymous: refuse}\nmodels: [{id: echo, engine: echo}]")
    with connect(server) as client, pytest.raises(openai.AuthenticationError) as caught:
        client.chat.completions.create(**ask(model="echo"), extra_headers={"Authorization": openai.omit})
    assert (caught.value.status_code, caught.value.code) == (401, "missing_credentials")


def test_overload_is_told_and_retried(start_server: StartServer) -> None:
    """A model whose queue is full answers 503: without retries an InternalServerError; with them the SDK
    tries again when the server says, and is served once there is room."""
    server = start_server(
        "models: [{id: tight, engine: echo, max_waiting: 1, options: {slots: 1, step_seconds: 0.02}}]"
    )
    long, short = ask("word " * 1000, model="tight"), ask(model="tight")
    occupants = ExitStack()

    def make_room(response: Any) -> None:
        if response.status_code == 503:
            occupants.close()

    with connect(server) as client, connect(server, event_hooks={"response": [make_room]}) as patient, occupants:
        for _ in ("one that runs", "one that waits"):
            next(occupants.enter_context(client.chat.completions.create(**long, stream=True)))
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(**short)
        assert (caught.value.status_code, caught.value.code) == (503, "overloaded")
        completion = patient.with_options(max_retries=1).chat.completions.create(**short)
        assert completion.choices[0].message.content == TEXT
    assert measured(server, "jan_http_requests_total", status="503") == 2


def test_error_inside_a_stream(start_server: StartServer) -> None:
    """A server that shuts down during a stream ends it by an error event: an APIError with the code, not a
    broken connection and not a silent end."""
    server = start_server(
        "server: {grace_seconds: 0}\nmodels: [{id: slow, engine: echo, options: {step_seconds: 0.02}}]"
    )
    with (
        connect(server) as client,
        client.chat.completions.create(**ask("word " * 1000, model="slow"), stream=True) as stream,
    ):
        assert "word" in said(next(stream) for _ in range(3))
        server.signal(signal.SIGTERM)
        with pytest.raises(openai.APIError) as caught:
            list(stream)
    assert type(caught.value) is openai.APIError
    assert (caught.value.code, caught.value.type) == ("shutting_down", "service_unavailable_error")
    assert server.wait() == 0
    assert server.errors() == []
