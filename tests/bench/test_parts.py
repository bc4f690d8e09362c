"""The harness's parts: answers on the wire, the load, recordings, servers and peers that do not work."""

import resource
import subprocess
import sys
from contextlib import ExitStack, nullcontext
from pathlib import Path

import msgspec
import pytest

from jan.bench.bench_error import BenchError
from jan.bench.helper_processes import load_client
from jan.bench.limit import bare_server
from jan.bench.load_generator import LoadJob
from jan.bench.peers import Peer, clean_environment
from jan.bench.plan import Plan, Stage
from jan.bench.processes import free_port, own_environment, serving
from jan.bench.raw_http import AnswerReader, request
from jan.bench.recording import Recording, chat_body, record

WHOLE = b'HTTP/1.1 200 OK\r\nContent-Length: 36\r\n\r\n{"usage":{"completion_tokens": 12}}\n'
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
RECORDING = Recording(
    head=HEAD,
    opening=b'id: 1\ndata: {"delta":{"content":""}}\n\n',
    pieces=(b'id: 2\ndata: {"delta":{"content":"a "}}\n\n', b'id: 3\ndata: {"delta":{"content":"b "}}\n\n'),
    ending=(b"id: 4\ndata: {}\n\n", b'id: 5\ndata: {"completion_tokens":2}\n\n', b"data: [DONE]\n\n"),
    whole=WHOLE,
)


@pytest.mark.parametrize("answer", [WHOLE, b"".join(RECORDING.stream(3))], ids=["length", "chunks"])
def test_an_answers_end_is_found_however_it_comes(answer: bytes) -> None:
    for at in range(1, len(answer)):
        reader = AnswerReader()
        assert not reader.feed(answer[:at])[1]
        assert reader.feed(answer[at:])[1], answer[:at]
        assert reader.status == 200
        reader.next()
        assert reader.feed(answer)[1]


def test_a_recorded_stream_has_any_length_and_is_numbered() -> None:
    writes = RECORDING.stream(5)
    assert len(writes) == 1 + 5 + 3 + 1
    assert writes[0].startswith(HEAD)
    assert [line for line in b"".join(writes).splitlines() if line.startswith(b"id: ")] == [
        b"id: %d" % number for number in range(1, 9)
    ]
    assert RECORDING.template() == b'{"delta":{"content":"a "}}'


def test_a_recording_has_a_frame_for_each_event_however_they_were_sent(tmp_path: Path) -> None:
    """A server may put several events in a chunk; the limit then writes each of them alone."""
    together = msgspec.structs.replace(
        RECORDING,
        opening=b": queued\n\n" + RECORDING.opening,
        ending=(b"".join(RECORDING.ending),),
    )
    with bare_server(together, tmp_path) as server:
        recording = record(server.port, "m", words=2)
    assert recording.opening == RECORDING.opening
    assert [len(recording.pieces), len(recording.ending)] == [2, 3]
    assert (recording.head, recording.whole) == (HEAD, WHOLE)


def test_the_load_counts_frames_tokens_and_times(tmp_path: Path) -> None:
    """Streams and whole answers, several a connection; every frame once."""
    with bare_server(RECORDING, tmp_path) as server, load_client() as client:
        data = request("/v1/chat/completions", {**chat_body("m", 1), "max_tokens": 1000})
        outcome = client.run(LoadJob(port=server.port, requests=(data,), connections=3, repeats=2, watch=True))
        assert (outcome.answers, outcome.frames, outcome.tokens) == (6, 6 * 1004, 6 * 2)
        assert len(outcome.first) == len(outcome.latencies) == 6
        assert max(outcome.first) <= max(outcome.latencies) <= outcome.seconds
        assert outcome.gaps
        assert 0 < outcome.reads <= outcome.frames
        whole = request("/v1/chat/completions", chat_body("m", 1, stream=False))
        outcome = client.run(LoadJob(port=server.port, requests=(whole,), connections=2, repeats=0, seconds=0.2))
        assert outcome.answers >= 2
        assert outcome.tokens == 12 * outcome.answers
        assert server.cpu_seconds() > 0
        assert server.resident_bytes() > 1_000_000


def test_the_load_counts_the_answers_that_had_tokens_merged(tmp_path: Path) -> None:
    """An answer of fewer frames than its tokens need: its client was behind, and got several at once."""
    with bare_server(RECORDING, tmp_path) as server, load_client() as client:
        requests = tuple(request("/", {**chat_body("m", 1), "max_tokens": tokens}) for tokens in (10, 9))
        outcome, cpu = client.run_measured(
            LoadJob(port=server.port, requests=requests, connections=2, frames=14), server
        )
        assert (outcome.answers, outcome.frames, outcome.merged) == (2, 14 + 13, 1)
        assert cpu > 0


def test_the_load_tells_what_went_wrong(tmp_path: Path) -> None:
    refusal = b"HTTP/1.1 429 Slow down\r\nContent-Length: 8\r\n\r\nnot yet!"
    refusing = msgspec.structs.replace(RECORDING, whole=refusal)
    data = request("/", chat_body("m", 1, stream=False))
    with bare_server(refusing, tmp_path) as server, load_client() as client:
        with pytest.raises(BenchError, match="status 429: not yet!"):
            client.run(LoadJob(port=server.port, requests=(data,)))
        with pytest.raises(BenchError, match="Connect call failed"):
            client.run(LoadJob(port=free_port(), requests=(data,)))
        slow = request("/", {**chat_body("m", 1), "max_tokens": 100, "step_seconds": 1.0})
        with pytest.raises(BenchError, match=r"not done after 0\.2 s"):
            client.run(LoadJob(port=server.port, requests=(slow,), timeout=0.2))


def test_a_server_that_does_not_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such processor')"]
    with (
        pytest.raises(BenchError, match="it ended with 1: no such processor"),
        serving("it", command, free_port(), tmp_path, environ=own_environment()),
    ):
        pass
    with (
        pytest.raises(BenchError, match=r"it was not ready after 0\.3 s: it printed nothing"),
        serving(
            "it",
            [sys.executable, "-c", "import time; time.sleep(60)"],
            free_port(),
            tmp_path,
            environ=own_environment(),
            timeout=0.3,
        ),
    ):
        pass
    with (
        pytest.raises(BenchError, match="it cannot be started: No such file"),
        serving("it", ["/nowhere/it"], free_port(), tmp_path, environ=own_environment()),
    ):
        pass


def test_a_peer_that_cannot_be_installed_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reason is kept for the report; nothing half made counts as installed the next time."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    said: list[str] = []
    plan = Plan(folder=tmp_path, cache=tmp_path / "cache", say=said.append)
    peer = Peer("nobody", ("nobody-has-made-this==1.0",))
    with ExitStack() as stack:
        stage = Stage(stack, plan)
        for _ in range(2):
            assert stage.try_peer("nobody", lambda: nullcontext(peer.python(plan.cache))) is None
            assert stage.missing["nobody"].startswith("Not available: It cannot be installed: ERROR: No matching")
            assert said[-1].startswith("nobody: Not available")


def test_a_low_limit_of_open_files_is_raised_for_what_is_started() -> None:
    """In a process of its own, whose limit nobody else has."""
    code = (
        "import resource, subprocess, sys\n"
        "from jan.bench.processes import allow_many_connections\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))\n"
        "allow_many_connections()\n"
        "shown = 'import resource; print(*resource.getrlimit(resource.RLIMIT_NOFILE))'\n"
        "subprocess.run([sys.executable, '-c', shown], check=True)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], env=own_environment(), capture_output=True, text=True, check=True
    )
    soft, hard = map(int, ran.stdout.split())
    assert soft == (8192 if hard == resource.RLIM_INFINITY else min(8192, hard))


def test_peers_are_chosen_by_the_beginnings_of_their_names(tmp_path: Path) -> None:
    plan = Plan(folder=tmp_path, cache=tmp_path, say=lambda _line: None)
    assert plan.wants_peer("FastAPI + uvicorn")
    some = msgspec.structs.replace(plan, chosen_peers=("fastapi", "LiteLLM"))
    names = ("FastAPI + uvicorn", "aiohttp", "LiteLLM proxy")
    assert [some.wants_peer(name) for name in names] == [True, False, True]
    assert not msgspec.structs.replace(some, peers=False).wants_peer("FastAPI + uvicorn")


def test_peers_see_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    assert "PYTHONPATH" not in clean_environment()
