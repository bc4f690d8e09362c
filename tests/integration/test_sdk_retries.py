"""The behaviour of the real SDKs on 429, 503 and errors inside streams. Each attempt is in the log."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import openai
import pytest
from support.conversation import StoredServer
from support.patience import until
from support.sdk import StartServer, ask, connect
from support.server import ServerProcess

pytestmark = pytest.mark.sdk

#: The SDKs' own default.
RETRIES = 2
SECOND = "limits: {inference: 1/second}"
HOUR = "limits: {authenticated: 3/hour, anonymous: 3/hour}"
TIGHT = "models: [{id: tight, engine: echo, max_waiting: 1, options: {slots: 1, step_seconds: 0.02}}]"
Outcome = dict[str, Any] | str
# Calls the server so often, and gives what became of each call.
Sdk = Callable[[ServerProcess, str, int], list[Outcome]]


def statuses(server: ServerProcess, route: str = "chat.completions") -> list[int]:
    """The answers to every attempt so far."""
    return [line["status"] for line in server.log if line.get("event") == "request" and line["route"] == route]


def python_sdk(server: ServerProcess, model: str, times: int) -> list[Outcome]:
    seen: list[Outcome] = []
    with connect(server) as client:
        patient = client.with_options(max_retries=RETRIES)
        for _ in range(times):
            try:
                patient.chat.completions.create(**ask("x", model=model))
            except openai.APIStatusError as error:
                return [*seen, {"name": type(error).__name__, "status": error.status_code, "code": error.code}]
            seen.append("served")
    return seen


@pytest.fixture(params=["python", "npm"])
def sdk(request: pytest.FixtureRequest) -> Sdk:
    if request.param == "python":
        return python_sdk
    play = request.getfixturevalue("play")

    def npm(server: ServerProcess, model: str, times: int) -> list[Outcome]:
        seen = play("retried", server, json.dumps({"model": model, "times": times}))
        kept = ("name", "status", "code")
        return [one if isinstance(one, str) else {name: one[name] for name in kept} for one in seen]

    return npm


def test_a_short_wait_is_waited_for(start_limited: Callable[..., ServerProcess], sdk: Sdk) -> None:
    """A limit that begins anew within a second costs a caller nothing but that: calls are refused meanwhile, and
    all are served."""
    server = start_limited(SECOND)
    assert sdk(server, "echo", 4) == ["served"] * 4
    assert until(lambda: statuses(server).count(200) == 4)
    assert 429 in statuses(server)


def test_a_long_wait_is_told_at_once(start_limited: Callable[..., ServerProcess], sdk: Sdk) -> None:
    """A limit of an hour is no use to wait for: the call after the last allowed one fails at its first attempt."""
    server = start_limited(HOUR)
    refused = {"name": "RateLimitError", "status": 429, "code": "rate_limit_exceeded"}
    assert sdk(server, "echo", 9) == ["served"] * 3 + [refused]
    assert until(lambda: statuses(server) == [200] * 3 + [429])


def occupy(server: ServerProcess, streams: ExitStack, client: openai.OpenAI) -> None:
    """One that runs and one that waits: no room for a third."""
    for _ in range(2):
        stream = streams.enter_context(client.chat.completions.create(**ask("word " * 2000, "tight"), stream=True))
        next(stream)


def test_an_overloaded_model_is_tried_again(start_server: StartServer, sdk: Sdk) -> None:
    """A full queue is a 503 that says when to come back; there is room by then, and the second try is served."""
    server = start_server(TIGHT)
    with connect(server) as client, ExitStack() as occupants, ThreadPoolExecutor(1) as background:
        occupy(server, occupants, client)
        call = background.submit(sdk, server, "tight", 1)
        assert until(lambda: 503 in statuses(server))
        occupants.close()
        assert call.result(60) == ["served"]
    assert statuses(server).count(503) == 1


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server with an endpoint whose model fails after the third word."""
    server = StoredServer(tmp_path / "failing")
    yield server.process
    server.process.kill_if_running()


def failed_stream_in_python(server: ServerProcess) -> dict[str, Any]:
    content = ""
    with connect(server) as client:
        patient = client.with_options(max_retries=RETRIES, base_url=f"{server.url}/failing")
        stream = patient.chat.completions.create(**ask("one two three four five", "slow"), stream=True)
        try:
            for chunk in stream:
                content += chunk.choices[0].delta.content or ""
        except openai.APIError as error:
            return {"name": type(error).__name__, "code": error.code, "content": content}
    return {"name": "", "code": "", "content": content}


@pytest.mark.parametrize("of", ["python", "npm"])
def test_an_error_inside_a_stream_is_raised_and_not_retried(
    request: pytest.FixtureRequest, failing: ServerProcess, of: str
) -> None:
    """The text so far may have been used: the SDK raises its APIError after it, and makes only one attempt."""
    if of == "python":
        seen = failed_stream_in_python(failing)
    else:
        seen = request.getfixturevalue("play")("failing", failing)
    assert (seen["name"], seen["code"]) == ("APIError", "internal_error")
    assert seen["content"].split() == ["one", "two", "three"]
    assert until(lambda: statuses(failing, "failing") == [200])
