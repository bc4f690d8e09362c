"""A model whose thread hangs or dies in a real server, in the server's process or in its own: its requests are
told, all else goes on, and what follows is what `on_failure` says."""

import asyncio
import json
import signal
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from support.patience import until
from support.server import ServerProcess, http_client

pytestmark = pytest.mark.slow

StartServer = Callable[[str], ServerProcess]
CHAT = "/api/v1/chat/completions"
ISOLATIONS = ["thread", "process"]
# What happens in the server's own process is the same for both.
ONCE = ["thread", pytest.param("process", marks=pytest.mark.heavy)]
CODES = {"hang": "engine_stalled", "die": "engine_dead"}


# A busy machine must not make a thread look stalled that only waits for its turn, least of all one that is to die.
STALL_SECONDS = {"hang": 1, "die": 60}


def settings(isolation: str, on_failure: str, stall_seconds: float, hang_seconds: float = 60) -> str:
    return f"""
server: {{grace_seconds: 5}}
models:
  - id: fragile
    engine: echo
    isolation: {isolation}
    stall_seconds: {stall_seconds}
    on_failure: {on_failure}
    options: {{slots: 2, step_seconds: 0.01, hang_word: hang, hang_seconds: {hang_seconds}, die_word: die}}
  - {{id: other, engine: echo, options: {{step_seconds: 0.01}}}}
"""


def chat(model: str, text: str, **parameters: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **parameters}


def code_of(answer: httpx.Response) -> str:
    code: str = answer.json()["error"]["code"]
    return code


def until_ready(client: httpx.Client) -> None:
    assert until(lambda: client.get("/ready").status_code == 200), "never ready again"


def fail(server: ServerProcess, word: str) -> str:
    """Make the fragile model stumble while it has other requests too, running and waiting, streamed and whole, and
    the other model is at work; returns what the other model said."""

    async def scenario() -> str:
        async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as caller:
            other = asyncio.create_task(caller.post(CHAT, json=chat("other", "on and on " * 50)))
            begun = chat("fragile", "w " * 2000, stream=True)
            async with caller.stream("POST", CHAT, json=begun) as stream:
                assert stream.status_code == 200
                whole = [asyncio.create_task(caller.post(CHAT, json=chat("fragile", "w " * 200 + word)))]
                # It must have a slot before the others come.
                while 'jan_engine_running{model="fragile"} 2.0' not in (await caller.get("/metrics")).text:
                    await asyncio.sleep(0.01)
                late = chat("fragile", "w " * 2000)
                whole += [asyncio.create_task(caller.post(CHAT, json=late)) for _ in range(3)]
                last = [line async for line in stream.aiter_lines() if line][-1]
            assert json.loads(last.removeprefix("data: "))["error"]["code"] == CODES[word]
            for answer in await asyncio.gather(*whole):
                assert (answer.status_code, code_of(answer)) == (503, CODES[word])
            said: str = (await other).json()["choices"][0]["message"]["content"]
            return said

    return asyncio.run(asyncio.wait_for(scenario(), 120))


def check_others(server: ServerProcess, client: httpx.Client) -> None:
    """Requests that need no model, or the other model, are served."""
    assert client.get("/health").status_code == 200
    key = {"Authorization": f"Bearer {server.admin_key}"}
    assert client.get("/api/v1/user/profile", headers=key).status_code == 200
    assert client.get("/api/v1/status", headers=key).json()["inference_model"] == "unhealthy"
    assert client.post(CHAT, json=chat("other", "hello")).json()["choices"][0]["message"]["content"] == "hello"


@pytest.mark.parametrize("isolation", ONCE)
@pytest.mark.parametrize("word", ["hang", "die"])
def test_wait(start_server: StartServer, word: str, isolation: str) -> None:
    """Not ready, refused at once, everything else served; a thread that comes back serves again, a dead one never
    does. The server's end waits for neither."""
    server = start_server(settings(isolation, "wait", STALL_SECONDS[word], hang_seconds=6))
    with http_client(server) as client:
        assert fail(server, word) == "on and on " * 50
        not_ready = client.get("/ready")
        assert not_ready.status_code == 503
        assert "fragile" in not_ready.json()["error"]["message"]
        refused = client.post(CHAT, json=chat("fragile", "hello"))
        assert (refused.status_code, code_of(refused)) == (503, CODES[word])
        check_others(server, client)
        if word == "hang":
            until_ready(client)
            assert client.post(CHAT, json=chat("fragile", "hello")).status_code == 200
        else:
            assert client.get("/ready").status_code == 503
    assert server.stop() == 0


@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("word", ["hang", "die"])
def test_restart(start_server: StartServer, word: str, isolation: str) -> None:
    """The model is there again soon, though a thread of this process still hangs; and once more."""
    server = start_server(settings(isolation, "restart", STALL_SECONDS[word]))
    with http_client(server) as client:
        for _ in range(2):
            fail(server, word)
            until_ready(client)
            answer = client.post(CHAT, json=chat("fragile", "hello")).json()
            assert answer["choices"][0]["message"]["content"] == "hello"
        assert 'jan_engine_restarts_total{model="fragile"} 2.0' in client.get("/metrics").text
    assert server.stop() == 0


@pytest.mark.parametrize("isolation", ONCE)
@pytest.mark.parametrize("word", ["hang", "die"])
def test_exit(start_server: StartServer, word: str, isolation: str) -> None:
    """The process ends in the orderly way, with a code of its own; the other model's answers are finished."""
    server = start_server(settings(isolation, "exit", STALL_SECONDS[word]))
    assert fail(server, word) == "on and on " * 50
    assert server.wait(30) == 4
    assert any(entry["event"] == "stopped" for entry in server.log)


@pytest.mark.parametrize(("isolation", "outcome"), [("thread", "left behind"), ("process", "killed")])
def test_the_end_does_not_wait_for_a_model_that_hangs(
    start_server: StartServer, isolation: str, outcome: str
) -> None:
    """SIGTERM while a step hangs that nobody has called a stall yet: exit code 0 within the grace period and some,
    and the log says what became of it."""
    server = start_server(settings(isolation, "wait", stall_seconds=1000, hang_seconds=600))
    with http_client(server) as client:
        request = client.build_request("POST", CHAT, json=chat("fragile", "w hang", stream=True))
        response = client.send(request, stream=True)
        assert next(line for line in response.iter_lines() if line.startswith("data: "))
        server.signal(signal.SIGTERM)
        assert server.wait(30) == 0
        response.close()
    assert any(outcome in entry["event"] for entry in server.log)
