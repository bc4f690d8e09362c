"""Requests leave nothing behind that only the garbage collector can free: it would stop everybody's tokens."""

import http.client
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import pytest
from support.metrics import scrape
from support.server import DEFAULT_CONFIG, ServerProcess, http_client

pytestmark = pytest.mark.slow

MODELS = "models: [{id: echo, engine: echo, options: {context: 64}}]"
# An endpoint that has the server's collector look at everything.
COLLECT = """
import gc

from jan.handler import Handler
from jan.operation import operation
from jan.schema.scopes import PUBLIC


class Collect(Handler):
    @operation(summary="Collect garbage", access=PUBLIC, limit="none")
    async def get(self) -> None:
        gc.collect()
        self.set_status(204)
        self.finish()
"""
ROUTES = "routes: [{path: /collect, handler: collect.Collect, name: collect}]"
BLOCKS = {
    "messages": [{"role": "user", "content": "# one\n\ntwo\n\nthree"}],
    "stream": True,
    "stream_options": {"include_html": True},
}
CHAT = {"model": "echo", "messages": [{"role": "user", "content": "one two three"}]}
# More than the model's context.
LONG = CHAT | {"messages": [{"role": "user", "content": "word " * 100}]}
REQUESTS = 200
# Not one object for two requests: of the client's connections, of what the metrics are made of, and the like.
FEW = 100


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    config = tmp_path_factory.mktemp("garbage") / "jan.yaml"
    server = start(config)
    yield server
    assert server.stop() == 0


def start(config: Path, more: str = "", **options: bool) -> ServerProcess:
    config.write_text(f"extends: {DEFAULT_CONFIG}\nlog: {{format: json}}\n{MODELS}\n{ROUTES}\n{more}\n")
    (config.parent / "collect.py").write_text(COLLECT)
    return ServerProcess(config, forked=False, **options)


def collected(server: ServerProcess) -> float:
    """Objects in cycles that the server's collector has found so far, having looked at everything."""
    with http_client(server) as client:
        assert client.get("/collect").status_code == 204
        found = scrape(client)
    return sum(count for (name, _), count in found.items() if name == "python_gc_objects_collected_total")


def ask(
    server: ServerProcess,
    method: str,
    path: str,
    body: object,
    statuses: set[int],
    credentials: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """The same request many times; each is answered with one of these."""
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    data = None if body is None else json.dumps(body)
    for _ in range(REQUESTS):
        connection.request(method, path, data, {"Content-Type": "application/json", **credentials})
        response = connection.getresponse()
        response.read()
        assert response.status in statuses
    connection.close()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/v1/models", None, 200),
        ("GET", "/api/v1/nothing", None, 404),
        ("POST", "/api/v1/chat/completions", CHAT, 200),
        ("POST", "/api/v1/chat/completions", CHAT | {"stream": True}, 200),
        ("POST", "/api/v1/chat/completions", CHAT | BLOCKS, 200),
        ("POST", "/api/v1/render", {"text": "# A\n\nb"}, 200),
        ("POST", "/api/v1/chat/completions", CHAT | {"model": "another"}, 404),
        ("POST", "/api/v1/chat/completions", LONG, 400),
        ("POST", "/api/v1/chat/completions", LONG | {"n": 2}, 400),
        ("POST", "/api/v1/chat/completions", LONG | {"stream": True, "on_disconnect": "finish"}, 400),
        ("POST", "/api/v1/chat/completions", LONG | {"on_disconnect": "finish"}, 400),
    ],
    ids=[
        "read",
        "no such URL",
        "answer",
        "stream",
        "blocks",
        "render",
        "refusal",
        "refused by the model",
        "one of several refused",
        "stream to finish refused",
        "answer to finish refused",
    ],
)
def test_requests_leave_no_cycles(
    server: ServerProcess, method: str, path: str, body: object, status: int
) -> None:
    """However many requests come, answered, streamed or refused: the collector finds next to nothing."""
    before = collected(server)
    ask(server, method, path, body, {status})
    assert collected(server) - before < FEW


@pytest.mark.parametrize("body", [CHAT | {"stream": True}, LONG], ids=["stream", "refusal"])
def test_stored_chats_leave_no_cycles(server: ServerProcess, body: dict[str, object]) -> None:
    """Questions and answers that are stored in a conversation, or refused before they are."""
    credentials = {"Authorization": f"Bearer {server.admin_key}"}
    with http_client(server, headers=credentials) as client:
        made = client.post("/api/v1/conversations", json={}).json()["id"]
    before = collected(server)
    stored = body | {"conversation_id": made, "parent_message_id": None}
    ask(server, "POST", "/api/v1/chat/completions", stored, {400 if body is LONG else 200}, credentials)
    assert collected(server) - before < FEW


def test_requests_beyond_a_limit_leave_no_cycles(tmp_path: Path) -> None:
    """Those that come too often are refused with no more behind them, and are the ones that come most."""
    config = tmp_path / "jan.yaml"
    limits = "limits: {anonymous: 3/hour, inference: 'off'}"
    server = start(config, limits, limits=True)
    try:
        ask(server, "GET", "/api/v1/models", None, {200, 429})
        before = collected(server)
        ask(server, "GET", "/api/v1/models", None, {429})
        assert collected(server) - before < FEW
        assert server.stop() == 0
    finally:
        server.kill_if_running()
