"""Background responses whose server dies or stops, or that two servers could make, on both stores."""

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import counting
from support.patience import in_time, until
from support.server import DEFAULT_CONFIG, ServerProcess, http_client

pytestmark = pytest.mark.slow

# The 101st of the 200 words is a gate. What is begun ends only after it was opened, however slow its reader is.
_NUMBERED = [f"word{number} " for number in range(199)]
WORDS = "".join([*_NUMBERED[:100], "gate ", *_NUMBERED[100:]])
CONFIG = f"""
extends: {DEFAULT_CONFIG}
log: {{format: json}}
server: {{grace_seconds: 1}}
responses: {{lease_seconds: 1}}
models: [{{id: counting, engine: counting.Counting, options: {{step_seconds: 0.002, gate: open}}}}]
"""


class Servers:
    """Servers on one store."""

    def __init__(self, folder: Path, store_url: str) -> None:
        self._config = folder / "jan.yaml"
        self._gate = folder / "open"
        self._config.write_text(f"{CONFIG}\nstorage: {{url: '{store_url}'}}\n")
        shutil.copy(counting.__file__, folder)
        self.running: list[ServerProcess] = []
        self.key = self.start().admin_key

    def start(self) -> ServerProcess:
        self.running.append(ServerProcess(self._config))
        return self.running[-1]

    def open_gate(self, is_open: bool = True) -> None:
        """Let what is being made come to its end, or not from now on."""
        self._gate.touch() if is_open else self._gate.unlink()

    def client(self) -> httpx.Client:
        """A client of the server that was started last."""
        return http_client(self.running[-1], headers={"Authorization": f"Bearer {self.key}"})

    def kill(self) -> None:
        self.running[-1].signal(signal.SIGKILL)
        self.running[-1].wait()


@pytest.fixture(params=["sqlite", "mongodb"])
def servers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Servers]:
    url = f"sqlite:///{tmp_path}/jan.db"
    if request.param == "mongodb":
        url = request.getfixturevalue("own_server").url("jan_background")
    found = Servers(tmp_path, url)
    yield found
    for server in found.running:
        server.kill_if_running()


def begin(client: httpx.Client, words: str = WORDS) -> str:
    answer = client.post("/v1/responses", json={"model": "counting", "input": words, "background": True})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def read_up_to(client: httpx.Client, own: str, words: int) -> str:
    """Read a stream until it has so many words, and return it as far as it was read."""
    text = ""
    with client.stream("GET", f"/v1/responses/{own}?stream=true") as response:
        for piece in in_time(response.iter_text()):
            text += piece
            if "".join(deltas(text)).count("word") >= words:
                break
    return text


def deltas(text: str) -> list[str]:
    lines = [line.removeprefix("data: ") for line in text.splitlines()[:-1] if line.startswith("data: {")]
    return [event["delta"] for line in lines if "delta" in (event := json.loads(line))]


def whole(client: httpx.Client, own: str) -> str:
    with client.stream("GET", f"/v1/responses/{own}?stream=true") as response:
        return "".join(in_time(response.iter_text()))


def messages_of(client: httpx.Client) -> list[dict[str, Any]]:
    [conversation] = client.get("/v1/conversations").json()["data"]
    found: list[dict[str, Any]] = client.get(f"/v1/conversations/{conversation['id']}/messages").json()["data"]
    return found


def is_charged_once(client: httpx.Client) -> bool:
    return until(lambda: client.get("/api/v1/usage").json()["totals"]["requests"] == 1) and (
        client.get("/api/v1/usage").json()["totals"]["total_tokens"] == 400
    )


def test_a_killed_server_loses_nothing_of_a_response(servers: Servers) -> None:
    """SIGKILL at token 100 of 200: after the restart all of it is there, the first part as it was sent, stored as
    one message, and charged once."""
    with servers.client() as client:
        own = begin(client)
        seen = read_up_to(client, own, 100)
        servers.kill()
    assert "response.completed" not in seen
    servers.open_gate()
    servers.start()
    with servers.client() as client:
        text = whole(client, own)
        assert text.startswith(seen)
        assert "".join(deltas(text)) == WORDS
        assert "response.output_item.dropped" not in text
        made = client.get(f"/v1/responses/{own}").json()
        assert made["output"][0]["content"][0]["text"] == WORDS
        assert (made["status"], made["usage"]["input_tokens"], made["usage"]["output_tokens"]) == (
            "completed",
            200,
            200,
        )
        assert [(one["role"], one["status"]) for one in messages_of(client)] == [
            ("user", "complete"),
            ("assistant", "complete"),
        ]
        assert is_charged_once(client)
    assert servers.running[-1].stop() == 0
    assert servers.running[-1].errors() == []


def test_a_stopped_server_leaves_its_responses(servers: Servers) -> None:
    """After SIGTERM the one that was being made goes on at the next start, and so does one that waits. What was
    made before is charged by the server that made it."""
    with servers.client() as client:
        own = begin(client)
        seen = read_up_to(client, own, 50)
        assert servers.running[-1].stop() == 0
    assert servers.running[-1].errors() == []
    servers.open_gate()
    servers.start()
    with servers.client() as client:
        text = whole(client, own)
        assert text.startswith(seen)
        assert "".join(deltas(text)) == WORDS
        assert client.get(f"/v1/responses/{own}").json()["usage"]["total_tokens"] == 400
        assert until(lambda: client.get("/api/v1/usage").json()["totals"]["total_tokens"] >= 400)
        assert client.get("/api/v1/usage").json()["totals"]["requests"] == 1


def test_another_server_goes_on(servers: Servers) -> None:
    """Two servers on one store: one makes the response, both show it, and when it dies the other one goes on. The
    other one can cancel it too."""
    with servers.client() as first:
        own = begin(first)
        second = servers.start()
        with servers.client() as other:
            seen = read_up_to(other, own, 60)
            servers.running[0].signal(signal.SIGKILL)
            servers.running[0].wait()
            servers.open_gate()
            text = whole(other, own)
            assert text.startswith(seen)
            assert "".join(deltas(text)) == WORDS
            assert is_charged_once(other)
    servers.open_gate(False)
    servers.start()
    with (
        servers.client() as third,
        http_client(second, headers={"Authorization": f"Bearer {servers.key}"}) as other,
    ):
        own = begin(third)
        read_up_to(third, own, 20)
        assert other.post(f"/v1/responses/{own}/cancel").json()["status"] == "cancelled"
        events = whole(third, own)
        assert '"status":"cancelled"' in events
        assert third.get(f"/v1/responses/{own}").json()["status"] == "cancelled"
