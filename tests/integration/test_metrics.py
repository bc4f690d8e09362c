"""GET /metrics: what is counted is what really happened, on real servers."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.metrics import becomes, scrape, value
from support.server import ServerProcess, http_client

StartServer = Callable[[str], ServerProcess]

SETTINGS = """
server: {keepalive_seconds: 0.2}
storage: {timeout_seconds: 0.5}
limits: {authenticated: 'off', anonymous: 'off', inference: 'off'}
models:
  - {id: echo, aliases: [parrot], engine: echo}
  - {id: slow, engine: echo, max_waiting: 1, options: {step_seconds: 0.02, slots: 1}}
"""
CHAT = "/api/v1/chat/completions"


def chat(model: str, words: int = 4, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "word " * words}], **more}


@pytest.fixture
def server(start_server: StartServer) -> ServerProcess:
    return start_server(SETTINGS)


@pytest.fixture
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    with http_client(server) as client:
        yield client


@pytest.fixture
def admin(server: ServerProcess) -> Iterator[httpx.Client]:
    with http_client(server, headers={"Authorization": f"Bearer {server.admin_key}"}) as client:
        yield client


def test_a_request_is_counted_once_with_its_tokens(client: httpx.Client) -> None:
    """One answer: one request, one first token, one wait for a slot; the alias counts as its model."""
    answer = client.post(CHAT, json=chat("parrot")).json()
    usage = answer["usage"]
    assert value(client, "jan_http_requests_total", method="POST", route="chat.completions", status="200") == 1
    assert value(client, "jan_http_request_seconds_count", route="chat.completions") == 1
    for kind in ("prompt_tokens", "completion_tokens"):
        assert value(client, "jan_tokens_total", model="echo", kind=kind) == usage[kind]
    assert value(client, "jan_first_token_seconds_count", model="echo") == 1
    assert value(client, "jan_engine_queue_wait_seconds_count", model="echo") == 1
    assert value(client, "jan_inter_token_seconds_count", model="echo") <= usage["completion_tokens"] - 1


def test_every_gap_between_tokens_is_counted(client: httpx.Client) -> None:
    """A stream that is read as it comes has one gap fewer than tokens, and one speed."""
    body = chat("slow", stream=True, stream_options={"include_usage": True})
    text = client.post(CHAT, json=body).text
    tokens = int(re.findall(r'"completion_tokens":(\d+)', text)[-1])
    assert value(client, "jan_inter_token_seconds_count", model="slow") == tokens - 1
    assert value(client, "jan_inter_token_seconds_sum", model="slow") > 0
    assert value(client, "jan_output_tokens_per_second_count", model="slow") == 1
    assert value(client, "jan_output_tokens_per_second_sum", model="slow") > 0


def test_a_stream_whose_client_leaves_is_counted_as_left(server: ServerProcess, client: httpx.Client) -> None:
    """While it goes on it is a live stream; then its client left, the engine cancelled, and no speed is known. The
    tokens that came out are in the line of the log."""
    with (
        http_client(server) as leaver,
        leaver.stream("POST", CHAT, json=chat("slow", 2000, stream=True)) as answer,
    ):
        lines = answer.iter_lines()
        assert any(line.startswith("data: ") and "word" in line for line in lines)
        assert becomes(client, 1, "jan_http_live_streams")
    assert becomes(client, 1, "jan_http_clients_left_total", route="chat.completions")
    assert becomes(client, 1, "jan_engine_cancelled_total", model="slow")
    assert becomes(client, 0, "jan_http_live_streams")
    assert value(client, "jan_output_tokens_per_second_count", model="slow") == 0
    assert value(client, "jan_first_token_seconds_count", model="slow") == 1
    assert server.stop() == 0
    (line,) = [entry for entry in server.log if entry.get("route") == "chat.completions"]
    assert line["client_left"] is True
    assert line["completion_tokens"] > 0
    assert "queue_ms" not in line  # nobody told how long it was


def test_an_overload_is_counted_by_the_engine_and_by_its_code(server: ServerProcess, client: httpx.Client) -> None:
    """One runs, one waits, one is refused; the one that waited was waited for."""
    with http_client(server) as one, http_client(server) as other:
        endless = chat("slow", 2000, stream=True)
        with one.stream("POST", CHAT, json=endless):
            assert becomes(client, 1, "jan_engine_running", model="slow")
            with other.stream("POST", CHAT, json=endless):
                assert becomes(client, 1, "jan_engine_waiting", model="slow")
                assert value(client, "jan_engine_waiting_tokens", model="slow") > 2000
                refused = client.post(CHAT, json=chat("slow"))
                assert refused.status_code == 503
                assert value(client, "jan_engine_overloaded_total", model="slow") == 1
                assert value(client, "jan_http_errors_total", route="chat.completions", code="overloaded") == 1
    assert becomes(client, 0, "jan_engine_running", model="slow")


def test_the_cache_that_answers_hold_is_told(server: ServerProcess, client: httpx.Client) -> None:
    """Of the tokens that there is room for: what the answer under way may come to need, until it ends."""
    assert value(client, "jan_engine_cache_tokens", model="slow") == 4096
    assert value(client, "jan_engine_cache_used_tokens", model="slow") == 0
    with (
        http_client(server) as other,
        other.stream("POST", CHAT, json=chat("slow", 500, stream=True)) as answer,
    ):
        lines = answer.iter_lines()  # one that is dropped ends the stream
        next(lines)
        assert becomes(client, 1000, "jan_engine_cache_used_tokens", model="slow")
    assert becomes(client, 0, "jan_engine_cache_used_tokens", model="slow")


def test_a_limit_that_is_hit_is_counted(start_limited: StartServer) -> None:
    """By the limit's name, whoever hit it."""
    server = start_limited("limits: {anonymous: 3/hour}")
    with http_client(server) as client:
        statuses = [client.post(CHAT, json=chat("echo")).status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        assert sum(n for (name, _), n in scrape(client).items() if name == "jan_limits_refused_total") == 2
        code = next(dict(labels)["code"] for name, labels in scrape(client) if name == "jan_http_errors_total")
        assert value(client, "jan_http_errors_total", route="chat.completions", code=code) == 2


def test_the_store_is_measured_by_operation(admin: httpx.Client, tmp_path: Path) -> None:
    """Each operation is there from the start, counts its uses, and its failures once the store is away. What is
    not found is no failure."""
    seen = scrape(admin)
    operations = {dict(labels)["operation"] for name, labels in seen if name == "jan_store_errors_total"}
    assert {"ping", "users.get", "messages.append", "counters.take"} <= operations
    before = value(admin, "jan_store_operation_seconds_count", operation="conversations.create")
    admin.post("/api/v1/conversations", json={"model": "echo"})
    assert value(admin, "jan_store_operation_seconds_count", operation="conversations.create") == before + 1
    assert admin.get("/api/v1/conversations/conv_none").status_code == 404
    assert value(admin, "jan_store_operation_seconds_count", operation="conversations.get") == 1
    assert value(admin, "jan_store_errors_total", operation="conversations.get") == 0
    for file in (tmp_path / "data").glob("jan.db*"):
        file.rename(file.with_name(f"away-{file.name}"))
    assert admin.get("/api/v1/conversations/conv_none").status_code == 503
    assert value(admin, "jan_store_errors_total", operation="conversations.get") == 1
    assert value(admin, "jan_store_operation_seconds_count", operation="conversations.get") == 2


def test_a_replay_is_counted(admin: httpx.Client) -> None:
    """The second request with one key is a replay, the first is not."""
    for _ in range(2):
        admin.post(
            "/api/v1/conversations", json={"model": "echo"}, headers={"Idempotency-Key": "0123456789abcdef"}
        )
    assert value(admin, "jan_http_idempotent_replays_total", route="conversations") == 1


def test_the_process_is_there(client: httpx.Client) -> None:
    """The running versions, memory and files, and the delay of the event loop are there."""
    names = {name for name, _ in scrape(client)}
    assert {"process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total"} <= names
    assert any(name == "jan_build_info" for name in names)
    for _ in range(3):  # the first tick is a second away
        if becomes(client, 1, "jan_event_loop_lag_seconds_count"):
            return
    raise AssertionError("the event loop was never measured")


def test_no_client_can_make_up_labels(client: httpx.Client) -> None:
    """Unknown URLs, methods, models and codes add no more than one series each."""
    for n in range(20):
        client.get(f"/nowhere-{n}")
        client.request(f"MADEUP{n}", "/health")
        client.post(CHAT, json=chat(f"model-{n}"))
        client.post(CHAT, content=f"not json {n}")
    text = client.get("/metrics").text
    assert not re.search(r"nowhere|MADEUP|model-\d|not json", text)
    before = len(scrape(client))
    for n in range(20, 40):
        client.get(f"/nowhere-{n}")
        client.request(f"MADEUP{n}", "/health")
        client.post(CHAT, json=chat(f"model-{n}"))
    assert len(scrape(client)) == before


def test_names_are_prometheus_own_style(client: httpx.Client) -> None:
    """Counters end in _total, nothing is in milliseconds, and every metric says what it is."""
    client.post(CHAT, json=chat("echo"))
    text = client.get("/metrics").text
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        assert re.search(rf"^# HELP {name} \S", text, re.MULTILINE), name
        if kind == "counter":
            assert name.endswith("_total"), name
        assert not re.search(r"_(ms|millis|kb|mb)(_|$)", name), name


def test_a_server_open_to_others_keeps_its_metrics_to_administrators(start_server: StartServer) -> None:
    """Where anyone who can reach the server may use the models, its numbers still take an administrator's key."""
    server = start_server(
        "access: {anonymous: anyone-who-can-reach-this-server}\nmodels: [{id: echo, engine: echo}]"
    )
    with http_client(server) as client:
        assert client.post(CHAT, json=chat("echo")).status_code == 200
        assert client.get("/metrics").status_code == 401
        key = {"Authorization": f"Bearer {server.admin_key}"}
        assert client.get("/metrics", headers=key).status_code == 200


def test_the_log_has_one_line_with_what_took_how_long(server: ServerProcess, client: httpx.Client) -> None:
    """Wait for a slot, first token, tokens; one line a request, and no trace where none is configured."""
    client.post(CHAT, json=chat("echo"))
    assert server.stop() == 0
    (line,) = [entry for entry in server.log if entry.get("route") == "chat.completions"]
    assert {"queue_ms", "first_token_ms", "prompt_tokens", "completion_tokens", "cached_tokens", "ms"} <= set(line)
    assert line["model"] == "echo"
    assert line["queue_ms"] <= line["first_token_ms"] <= line["ms"] + 1
    assert "trace_id" not in line
