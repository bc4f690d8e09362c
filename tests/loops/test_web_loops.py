"""Several web loops that serve one address, as processes of their own."""

import json
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.command import run_jan
from support.conversation import StoredServer, bearer
from support.server import ECHO_CONFIG, EMBEDDER, http_client

pytestmark = pytest.mark.slow

LOOPS = 2
_ENVIRON = {
    "JAN__SERVER__WORKERS": str(LOOPS),
    "JAN__SERVER__GRACE_SECONDS": "5",
    "JAN__LIMITS__INFERENCE": "60/minute",
}
TEXT = " ".join(f"word{number}" for number in range(60))


class LoopServer(StoredServer):
    """A server of several web loops."""

    def __init__(self, folder: Path) -> None:
        isolated = ECHO_CONFIG.replace("engine: echo", "engine: echo, isolation: process")
        super().__init__(folder, environ=_ENVIRON, config=isolated)

    def connect(self, key: str = "") -> httpx.Client:
        """A client whose every request is a connection of its own, so that any loop may get it."""
        limits = httpx.Limits(max_keepalive_connections=0)
        return http_client(self.process, headers=bearer(key or self.key), limits=limits)

    def lines(self, event: str) -> list[dict[str, Any]]:
        """What was logged of this kind."""
        return [entry for entry in list(self.process.log) if entry.get("event") == event]

    def serving(self) -> dict[int, int]:
        """The process that serves as each loop now, by the number of the loop."""
        return {entry["loop"]: entry["pid"] for entry in self.lines("web loop serves")}

    def loops_of(self, route: str) -> Counter[int]:
        """How many requests of a route each loop has logged."""
        return Counter(entry["loop"] for entry in self.lines("request") if entry["route"] == route)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopServer]:
    running = LoopServer(tmp_path_factory.mktemp("loops"))
    try:
        yield running
    finally:
        running.process.kill_if_running()


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def chat(text: str, model: str = "echo", **fields: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


def both_serve(server: LoopServer) -> None:
    """Send requests until each loop has served one."""
    before = server.loops_of("models")
    with server.connect() as client, ThreadPoolExecutor(8) as threads:
        for _ in range(50):
            answers = list(threads.map(lambda _: client.get("/v1/models").status_code, range(8)))
            assert answers == [200] * 8
            since = server.loops_of("models") - before
            if len(since) == LOOPS:
                return
    raise AssertionError(f"only {since} served")


def test_all_loops_serve(server: LoopServer) -> None:
    """Each loop gets some of the connections, and each of them knows the user whom one of them made."""
    both_serve(server)
    key = server.add_user()
    with server.connect(key) as client:
        for _ in range(12):
            assert client.get("/v1/user/profile").status_code == 200


def test_a_limit_counts_the_requests_of_all_loops(server: LoopServer) -> None:
    """200 requests at once at a limit of 60: exactly 60 are served."""
    key = server.add_user()
    before = server.loops_of("chat.completions")
    with server.connect(key) as client, ThreadPoolExecutor(16) as threads:
        answers = Counter(
            threads.map(lambda _: client.post("/v1/chat/completions", json=chat("hi")).status_code, range(200))
        )
    assert answers == {200: 60, 429: 140}
    until(lambda: (server.loops_of("chat.completions") - before).total() == 200)
    assert len(server.loops_of("chat.completions") - before) == LOOPS


def test_a_stream_is_resumed_at_any_loop(server: LoopServer) -> None:
    """The client leaves in mid-answer and comes back by other connections: whichever loop gets one, all events
    are there, in order, each once."""
    key = server.add_user()
    before = server.loops_of("chat.completions.events")
    with server.connect(key) as client:
        asked = chat(TEXT, "slow", stream=True, on_disconnect="finish")
        with client.stream("POST", "/v1/chat/completions", json=asked) as stream:
            first = next(line for line in stream.iter_lines() if line.startswith("data: "))
        name = json.loads(first[6:])["id"]

        def rest(number: int) -> bytes:
            headers = {"Last-Event-ID": str(number)}
            return client.get(f"/v1/chat/completions/{name}/events", headers=headers).content

        with ThreadPoolExecutor(6) as threads:
            whole = list(threads.map(rest, [0] * 6))
        assert len(set(map(_events, whole))) == 1
        words = [json.loads(line)["choices"][0]["delta"].get("content", "") for line in _data(whole[0])[:-1]]
        assert "".join(words) == TEXT
        count = len(_data(whole[0])) - 1
        assert [_data(rest(count - 3))] * 6 == [_data(rest(count - 3)) for _ in range(6)]
        assert (
            client.get(f"/v1/chat/completions/{name}/events", headers={"Last-Event-ID": "99999"}).status_code
            == 400
        )
        assert client.get("/v1/chat/completions/chatcmpl-none/events").json()["error"]["code"] == "stream_not_kept"
    with server.connect(server.add_user()) as stranger:
        for _ in range(4):
            refused = stranger.get(f"/v1/chat/completions/{name}/events")
            assert (refused.status_code, refused.json()["error"]["code"]) == (404, "stream_not_kept")
    assert len(server.loops_of("chat.completions.events") - before) == LOOPS


def _data(body: bytes) -> list[bytes]:
    return [line[6:] for line in body.splitlines() if line.startswith(b"data: ")]


def _events(body: bytes) -> bytes:
    """A stream without its comments, which tell of the moment."""
    return re.sub(rb"^:.*\n+", b"", body, flags=re.MULTILINE)


def test_metrics_are_those_of_all_loops(server: LoopServer) -> None:
    """Whichever loop is asked, the page has the requests of all of them."""
    both_serve(server)

    def models() -> float:
        with server.connect() as client:
            page = client.get("/metrics").text
        samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
        (build,) = [sample.value for sample in samples if sample.name == "jan_build_info"]
        assert build == 1
        return sum(
            s.value for s in samples if s.name == "jan_http_requests_total" and s.labels["route"] == "models"
        )

    (counted,) = {models() for _ in range(6)}
    until(lambda: server.loops_of("models").total() == counted)


def test_metrics_of_an_engine_are_counted_once(server: LoopServer) -> None:
    """All loops use one process of a model, so its answers and its slots are those of one."""

    def of_engine(name: str) -> float:
        with server.connect() as client:
            page = client.get("/metrics").text
        (value,) = re.findall(rf'^jan_engine_{name}{{model="echo"}} (\S+)$', page, re.MULTILINE)
        return float(value)

    before = of_engine("finished_total")
    with server.connect(server.add_user()) as client:
        for _ in range(5):
            assert client.post("/v1/chat/completions", json=chat("hi")).status_code == 200
    until(lambda: of_engine("finished_total") >= before + 5)
    assert of_engine("finished_total") == before + 5
    assert (of_engine("loaded"), of_engine("healthy"), of_engine("running")) == (1, 1, 0)


def test_a_loop_that_dies_is_replaced(server: LoopServer) -> None:
    """The others go on serving, and another process takes its place."""
    both_serve(server)
    before = server.serving()
    for number in (1, 2):
        os.kill(before[number], signal.SIGKILL)
        until(lambda number=number: server.serving()[number] != before[number])  # type: ignore[misc]
        with server.connect() as client:
            assert client.get("/v1/user/profile").json()["role"] == "admin"
    both_serve(server)
    ended = server.lines("web loop ended; another one takes its place")
    assert [entry["reason"] for entry in ended] == ["signal SIGKILL"] * 2


def processes(server: LoopServer) -> list[dict[str, Any]]:
    with server.connect() as client:
        listed: list[dict[str, Any]] = client.get("/v1/status/processes").json()["processes"]
    return listed


def test_the_processes_are_listed(server: LoopServer) -> None:
    """The supervisor comes first, then its loops and the models' processes, each with what it uses."""
    listed = processes(server)
    assert listed[0]["pid"] == server.process.pid
    assert [(one["role"], one["name"]) for one in listed] == [
        ("supervisor", ""),
        ("web_loop", "1"),
        ("web_loop", "2"),
        ("engine", "echo"),
        ("engine", "slow"),
        ("engine", EMBEDDER),
    ]
    assert {one["pid"] for one in listed[1:3]} == set(server.serving().values())
    assert all(one["memory_bytes"] > 1_000_000 and one["cpu_seconds"] >= 0 for one in listed)


def test_the_command_line_shows_a_tree(server: LoopServer) -> None:
    """`jan status` has a line for each process, those of the supervisor below it."""
    url = f"{server.process.url}/v1"
    ran = run_jan("status", "--url", url, cwd=server.folder, environ={"JAN_API_KEY": server.key})
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert [line.split("  pid ")[0].rstrip() for line in lines[:3]] == [
        "supervisor",
        "├─ web loop 1",
        "├─ web loop 2",
    ]
    assert re.fullmatch(r"└─ engine \S+ +pid \d+ +[\d.]+ s CPU +\d+ MB", lines[-1])
    ran = run_jan("status", "--url", url, cwd=server.folder, environ={"JAN_API_KEY": "jan_wrong"})
    assert ran.returncode == 1
    assert ran.stderr.startswith("jan: ")


def test_all_loops_use_the_model_again_after_its_process_has_died(server: LoopServer) -> None:
    """Answers under way at any loop end with an error, and the next ones come from another process."""
    (before,) = [one["pid"] for one in processes(server) if one["name"] == "slow"]
    key = server.add_user()

    def ask(_: int) -> list[str]:
        with (
            server.connect(key) as client,
            client.stream("POST", "/v1/chat/completions", json=chat(TEXT, "slow", stream=True)) as stream,
        ):
            lines = stream.iter_lines()
            begun.release()
            return list(lines)

    begun = threading.Semaphore(0)
    loops = server.loops_of("chat.completions")
    with ThreadPoolExecutor(4) as threads:
        answers = threads.map(ask, range(4))
        for _ in range(4):
            begun.acquire()
        os.kill(before, signal.SIGKILL)
        codes = [json.loads(line[6:])["error"]["code"] for lines in answers for line in lines if '"error"' in line]
    assert codes == ["engine_dead"] * 4
    until(lambda: any(one["name"] == "slow" and one["pid"] != before for one in processes(server)))
    with server.connect(key) as client:

        def serves() -> bool:
            answer = client.post("/v1/chat/completions", json=chat("again", "slow"))
            assert answer.status_code in (200, 503)
            served.append(answer.status_code == 200)
            return served[-6:] == [True] * 6

        served: list[bool] = []
        until(serves)
    until(lambda: len(server.loops_of("chat.completions") - loops) == LOOPS)


def test_renewing_refuses_nobody(server: LoopServer) -> None:
    """SIGHUP puts a new process into each loop's place while requests come: none is refused."""
    before = server.serving()
    stop, answers = threading.Event(), Counter[int]()

    def ask(client: httpx.Client) -> None:
        with client:
            while not stop.is_set():
                # A connection may end while a request is on its way; clients ask again then (RFC 9110 9.2.2).
                with suppress(httpx.TransportError):
                    answers[client.get("/v1/models").status_code] += 1

    # Some make a connection for each request, others keep theirs.
    clients = [server.connect(), server.connect(), server.client(), server.client()]
    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        server.process.signal(signal.SIGHUP)
        until(lambda: len(server.lines("web loops renewed")) == 1)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(answers) == {200}
    assert set(server.serving().values()).isdisjoint(before.values())


def test_no_loop_outlives_the_supervisor(tmp_path: Path) -> None:
    """A supervisor that is killed takes its loops along; one that is stopped lets an answer end."""
    server = LoopServer(tmp_path)
    try:
        with server.connect(server.add_user()) as client:
            asked = chat(TEXT, "slow", stream=True)
            with client.stream("POST", "/v1/chat/completions", json=asked) as stream:
                lines = stream.iter_lines()
                next(lines)
                server.process.signal(signal.SIGTERM)
                assert "data: [DONE]" in list(lines)
        assert server.process.wait() == 0
        until(lambda: not any(map(_runs, server.serving().values())))
        server.start()
        server.process.signal(signal.SIGKILL)
        server.process.wait()
        until(lambda: not any(map(_runs, server.serving().values())))
    finally:
        server.process.kill_if_running()


def _runs(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_a_mistake_that_only_a_loop_finds_is_a_line(tmp_path: Path) -> None:
    """It is told as one server in one process tells it: by a line and an exit code, and no traceback."""
    config = tmp_path / "jan.yaml"
    config.write_text("server: {workers: 2, host: 127.0.0.1}\n")
    ran = run_jan("serve", "--config", str(config), "--port", "0", "--data", str(tmp_path), cwd=tmp_path)
    assert ran.returncode == 1
    assert re.search(r"^jan: .*routes: There are none", ran.stderr, re.MULTILINE)
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("isolation", ["", ", isolation: thread"])
def test_a_model_on_a_thread_has_one_loop(tmp_path: Path, isolation: str) -> None:
    """Several loops can't share it: neither the check nor the start accepts that."""
    config = tmp_path / "jan.yaml"
    config.write_text(f"extends: default\nserver: {{workers: 2}}\nmodels: [{{id: m, engine: echo{isolation}}}]\n")
    for arguments in (["check", str(config)], ["serve", "--config", str(config), "--port", "0"]):
        ran = run_jan(*arguments, cwd=tmp_path)
        assert ran.returncode == 1
        assert (
            "models[0] (m): isolation: Several web loops can't share a model that runs on a thread" in ran.stderr
        )
