"""Output formats that compile for ever: they are refused, hold up nobody, and leave no process behind."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.format import HOSTILE_SCHEMAS, another
from support.server import DEFAULT_CONFIG, MODEL, ServerProcess, http_client

pytestmark = pytest.mark.model

CHAT = "/api/v1/chat/completions"
PLAIN: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
GOOD = {"type": "string", "pattern": "^(yes|no)$"}
# Seconds that nothing takes which is not broken, however busy the machine is: four trials one after another.
PATIENCE = 300


def held_to(schema: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}}


def tools(*schemas: Any) -> dict[str, Any]:
    objects = [{"type": "object", "properties": {"p": schema}, "required": ["p"]} for schema in schemas]
    functions = [{"name": f"f{number}", "parameters": parameters} for number, parameters in enumerate(objects)]
    return {
        "tools": [{"type": "function", "function": function} for function in functions],
        "tool_choice": "required",
    }


def children_of(pid: int) -> list[int]:
    """Processes that a process started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(folder.name))
    return found


def gone(pid: int) -> bool:
    """Return True if a process has ended. A zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.fixture
def posted(model: httpx.Client) -> Iterator[Any]:
    """Posts beside the test's own thread."""
    with ThreadPoolExecutor(16) as pool:
        yield lambda body: pool.submit(model.post, CHAT, json=PLAIN | body, timeout=PATIENCE)


def refused(answer: httpx.Response, param: str) -> str:
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_schema", param)
    return str(error["message"])


# How many at once. Each takes all of its CPU time and a process; the same schema does so again and again.
TIMES = {name: 3 if name == "4 multiples" else 1 for name in HOSTILE_SCHEMAS}


@pytest.mark.parametrize(("name", "times"), TIMES.items())
def test_a_hostile_schema_holds_up_nobody(model_admin: httpx.Client, posted: Any, name: str, times: int) -> None:
    """One after another they are 400, in whichever parameter; another caller, with a format or without, is
    answered before they are."""
    asked = [(held_to(another(name, number)), "response_format") for number in range(times)]
    asked.append((tools(GOOD, another(name, times)), "tools[1].function.parameters"))
    hostile: list[Future[httpx.Response]] = [posted(body) for body, _ in asked]
    for body in (PLAIN, PLAIN | held_to(GOOD | {"title": name})):
        assert model_admin.post(CHAT, json=body).status_code == 200
        assert model_admin.get("/health").status_code == 200
    assert not all(answer.done() for answer in hostile)
    for answer, (_, param) in zip(hostile, asked, strict=True):
        assert "computing" in refused(answer.result(), param)
    assert model_admin.post(CHAT, json=PLAIN | held_to(GOOD | {"title": f"{name} later"})).status_code == 200


def test_a_known_one_is_refused_at_once(model_server: ServerProcess, model: httpx.Client) -> None:
    """Its process ended; the second time none is started for it."""
    body = PLAIN | held_to(another("4 multiples", 100))
    refused(model.post(CHAT, json=body, timeout=PATIENCE), "response_format")
    before = children_of(model_server.pid)
    refused(model.post(CHAT, json=body | {"n": 8}), "response_format")
    assert children_of(model_server.pid) == before


def test_costly_tools_are_bounded_together(model: httpx.Client) -> None:
    """Eight that would each be allowed are one request's."""
    body = PLAIN | tools(*({"const": "x" * 490_000} for _ in range(8)))
    assert "long" in refused(model.post(CHAT, json=body), "tools[1].function.parameters")


def test_a_long_constant_is_written_and_others_are_served(model_admin: httpx.Client, posted: Any) -> None:
    """However long what is fixed is, a token of it costs what another token does."""
    answer: Future[httpx.Response] = posted(held_to({"const": "x" * 60_000}) | {"max_tokens": 80})
    while not answer.done():
        assert model_admin.post(CHAT, json=PLAIN).status_code == 200
    text = answer.result().json()["choices"][0]["message"]["content"]
    assert text == '"' + "x" * (len(text) - 1)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_server(tmp_path: Path, end: signal.Signals) -> None:
    """No child survives the server, whether it is terminated or killed during a trial."""
    config = tmp_path / "jan.yaml"
    config.write_text(f"extends: {DEFAULT_CONFIG}\nlog: {{format: json}}\nserver: {{grace_seconds: 1}}\n")
    server = ServerProcess(config)
    with http_client(server) as client, ThreadPoolExecutor(4) as pool:
        assert client.post(CHAT, json=PLAIN | held_to(GOOD)).status_code == 200
        children = children_of(server.pid)
        assert children
        for number in range(3):
            pool.submit(client.post, CHAT, json=PLAIN | held_to(another("4 multiples", number)))
        time.sleep(0.2)
        children += children_of(server.pid)
        os.kill(server.pid, end)
    until = time.monotonic() + PATIENCE
    while not all(map(gone, children)):
        assert time.monotonic() < until
        time.sleep(0.05)
    server.stop()
