"""Many people at one model, through HTTP: whose turn it is, what those who wait are told, and what is refused."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from support.lean_http import lean_client
from support.server import ServerProcess, http_client

StartServer = Callable[[str], ServerProcess]
CHAT = "/api/v1/chat/completions"
COMPLETIONS = "/api/v1/completions"

# One slot each, and room for an answer that holds it for as long as a busy machine takes; in `short` nobody may
# wait for long.
MODELS = """
server: {keepalive_seconds: 0.1, grace_seconds: 1, max_connections_per_address: 200}
models:
  - {id: one, engine: echo, options: {slots: 1, step_seconds: 0.01, context: 100000}}
  - {id: short, engine: echo, queue_timeout_seconds: 0.2, options: {slots: 1, step_seconds: 0.02, context: 100000}}
  - {id: small, engine: echo, max_waiting: 4, options: {slots: 2, step_seconds: 0.02, context: 100000}}
"""


@pytest.fixture(params=["thread", pytest.param("process", marks=pytest.mark.heavy)])
def server(start_server: StartServer, request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    started = start_server(MODELS.replace("engine: echo", f"engine: echo, isolation: {request.param}"))
    yield started
    assert started.stop() == 0
    assert started.errors() == []


@pytest.fixture
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    with http_client(server) as made:
        yield made


def chat(model: str, words: int, **parameters: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "w " * words}], **parameters}


def metric(client: httpx.Client, name: str, model: str) -> float:
    wanted = f'jan_engine_{name}{{model="{model}"}} '
    lines = client.get("/metrics").text.splitlines()
    return next(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))


def until(client: httpx.Client, name: str, model: str, value: float) -> None:
    for _ in range(1000):
        if metric(client, name, model) >= value:
            return
        time.sleep(0.01)
    raise AssertionError(f"{name} of {model} never was {value}")


class Busy:
    """A long stream that holds a model's slot while it is entered."""

    def __init__(self, client: httpx.Client, model: str) -> None:
        self._client = client
        self._model = model
        self._stream = client.stream("POST", CHAT, json=chat(model, 4000, stream=True))

    def __enter__(self) -> None:
        self._stream.__enter__()
        until(self._client, "running", self._model, 1)

    def __exit__(self, *error: Any) -> None:
        self._stream.__exit__(*error)


def test_one_request_beside_a_hundred_waits_for_about_one(server: ServerProcess, client: httpx.Client) -> None:
    """While a hundred requests of one caller wait for the only slot, another's single one is done when at most
    three more of them are: the one that ran, the one whose turn it was, and one that ended meanwhile."""
    done: list[str] = []

    async def ask(caller: httpx.AsyncClient) -> None:
        answer = await caller.post(CHAT, json=chat("one", 10))
        assert answer.status_code == 200, answer.text
        done.append("many")

    async def scenario() -> int:
        async with lean_client(server.url) as caller:
            many = [asyncio.create_task(ask(caller)) for _ in range(100)]
            await asyncio.to_thread(until, client, "waiting", "one", 60)
            headers = {"Authorization": f"Bearer {server.admin_key}"}
            single = chat("one", 10, stream=True)
            async with caller.stream("POST", CHAT, json=single, headers=headers) as stream:
                # From its place in the queue on: the way there takes as long as a busy machine takes.
                assert stream.status_code == 200
                before = len(done)
                async for _ in stream.aiter_lines():
                    pass
            passed = len(done) - before
            for task in many:
                task.cancel()
            await asyncio.gather(*many, return_exceptions=True)
        return passed

    assert asyncio.run(scenario()) <= 3
    assert metric(client, "failed_total", "one") == 0


def test_who_waits_sees_a_place(client: httpx.Client) -> None:
    """In a stream its place comes as a comment behind the first chunk, is repeated where a keep-alive would go
    out, and there is none once the answer has begun."""
    with Busy(client, "one"), client.stream("POST", CHAT, json=chat("one", 3, stream=True)) as response:
        lines = response.iter_lines()
        seen = [line for _, line in zip(range(8), lines, strict=False) if line and not line.startswith("id: ")]
    assert json.loads(seen[0].removeprefix("data: "))["choices"][0]["delta"]["role"] == "assistant"
    assert seen[1] == ": queued, position 1"
    assert all(line.startswith(": queued, position 1") for line in seen[1:])
    plain = client.post(CHAT, json=chat("one", 3, stream=True)).text
    assert ": queued" not in plain


def test_an_answer_as_a_whole_has_no_comments(server: ServerProcess, client: httpx.Client) -> None:
    """Answers that waited are ordinary ones, with one choice and with several, of both endpoints."""

    async def scenario() -> list[Any]:
        async with lean_client(server.url) as caller:
            with Busy(client, "one"):
                tasks = [
                    asyncio.create_task(caller.post(CHAT, json=chat("one", 3, n=2))),
                    asyncio.create_task(caller.post(COMPLETIONS, json={"model": "one", "prompt": "w w "})),
                ]
                await asyncio.to_thread(until, client, "waiting", "one", 3)
            return [answer.json() for answer in await asyncio.gather(*tasks)]

    chats, text = asyncio.run(scenario())
    assert [choice["message"]["content"] for choice in chats["choices"]] == ["w w w "] * 2
    assert [choice["text"] for choice in text["choices"]] == ["w w "]


def test_nobody_waits_longer_than_the_model_says(client: httpx.Client) -> None:
    """503 `queue_timeout` with what SDKs go by; in a stream, whose headers are out, an error event."""
    with Busy(client, "short"):
        refused = client.post(CHAT, json=chat("short", 3))
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "queue_timeout"
        assert int(refused.headers["retry-after-ms"]) == 1000 * int(refused.headers["retry-after"]) > 0
        assert refused.headers["x-should-retry"] == "true"
        stream = client.post(CHAT, json=chat("short", 3, stream=True)).text
    assert json.loads(stream.split("data: ")[-1])["error"]["code"] == "queue_timeout"
    assert "[DONE]" not in stream
    assert metric(client, "timed_out_total", "short") == 2


def test_what_never_fits_is_wrong_rather_than_overloaded(client: httpx.Client) -> None:
    """Two slots and half of four places: more sequences than that are a 400 that says so, fewer are served."""
    body = {"model": "small", "prompt": ["a", "b"], "n": 3}
    refused = client.post(COMPLETIONS, json=body)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "n"
    assert "6" in refused.json()["error"]["message"]
    assert "at most 4" in refused.json()["error"]["message"]
    assert len(client.post(COMPLETIONS, json={**body, "n": 2}).json()["choices"]) == 4


def test_a_full_share_is_overloaded(server: ServerProcess, client: httpx.Client) -> None:
    """A caller whose share of the queue is used up is refused as overloaded, with the headers for SDKs. Others are
    served."""
    refused = []

    async def scenario() -> None:
        async with lean_client(server.url) as caller:
            own = [asyncio.create_task(caller.post(CHAT, json=chat("small", 50))) for _ in range(10)]
            await asyncio.to_thread(until, client, "overloaded_total", "small", 6)
            key = {"Authorization": f"Bearer {server.admin_key}"}
            assert (await caller.post(CHAT, json=chat("small", 3), headers=key)).status_code == 200
            refused.extend(answer for answer in await asyncio.gather(*own) if answer.status_code != 200)

    asyncio.run(scenario())
    assert len(refused) == 6
    for answer in refused:
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
        assert answer.headers["x-should-retry"] == "true"
        assert int(answer.headers["retry-after"]) > 0


def test_service_tiers(server: ServerProcess, client: httpx.Client) -> None:
    """The answer says which tier it had, if the request asked for one: priority for administrators only."""
    key = {"Authorization": f"Bearer {server.admin_key}"}
    cases = (
        ({}, "flex", "flex"),
        ({}, "auto", "default"),
        ({}, "default", "default"),
        ({}, "scale", "default"),
        ({}, "priority", "default"),
        (key, "priority", "priority"),
    )
    for headers, asked, got in cases:
        for url in (CHAT, COMPLETIONS):
            body = {**chat("one", 1), "prompt": "w", "service_tier": asked}
            assert client.post(url, json=body, headers=headers).json()["service_tier"] == got
            stream = client.post(url, json={**body, "stream": True}, headers=headers).text
            events = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: {")]
            assert {event["service_tier"] for event in events} == {got}
    assert "service_tier" not in client.post(CHAT, json=chat("one", 1)).json()
    refused = client.post(CHAT, json=chat("one", 1, service_tier="gold"))
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "service_tier")


def test_tiers_go_before_one_another(server: ServerProcess, client: httpx.Client) -> None:
    """Of equal requests that wait together, one of priority is served before the plain ones, those before flex."""
    done: list[str] = []
    key = {"Authorization": f"Bearer {server.admin_key}"}

    async def ask(caller: httpx.AsyncClient, tier: str) -> None:
        await caller.post(CHAT, json=chat("one", 10, service_tier=tier), headers=key)
        done.append(tier)

    async def scenario() -> None:
        async with lean_client(server.url) as caller:
            with Busy(client, "one"):
                tasks = []
                for count, tier in enumerate(("flex", "default", "priority"), 1):
                    tasks.append(asyncio.create_task(ask(caller, tier)))
                    await asyncio.to_thread(until, client, "waiting", "one", count)
            await asyncio.gather(*tasks)

    asyncio.run(scenario())
    assert done == ["priority", "default", "flex"]


def test_waiting_requests_whose_clients_leave(server: ServerProcess, client: httpx.Client) -> None:
    """A hundred that wait and go away leave nothing in the queue, and the model is free for the next one."""

    async def scenario() -> None:
        async with lean_client(server.url) as caller:
            with Busy(client, "one"):
                tasks = [asyncio.create_task(caller.post(CHAT, json=chat("one", 10))) for _ in range(100)]
                await asyncio.to_thread(until, client, "waiting", "one", 100)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await asyncio.to_thread(until, client, "cancelled_total", "one", 100)
                assert metric(client, "waiting", "one") == metric(client, "waiting_tokens", "one") == 0

    asyncio.run(scenario())
    assert client.post(CHAT, json=chat("one", 3)).status_code == 200
    assert metric(client, "queue_wait_seconds_count", "one") >= 1
