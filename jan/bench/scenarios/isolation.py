"""``isolation``: what a process of its own costs a model, beside a thread, and its return after a kill."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import msgspec
import psutil

from jan.bench.bench_error import BenchError
from jan.bench.contestants import Contestant, Streams, streaming_models
from jan.bench.helper_processes import LoadClient, load_client
from jan.bench.load_generator import LoadJob
from jan.bench.measured_streams import measured, sized
from jan.bench.ours import CHAT, admin_key, call, jan_server
from jan.bench.plan import Plan, Stage
from jan.bench.processes import ServerUnderTest
from jan.bench.raw_http import bearer, request
from jan.bench.recording import chat_body
from jan.bench.results import Column, Result, Row, Target, percentile, row_of
from jan.bench.rounds import Comparison, Measure
from jan.engine.isolation.engine_messages import BackendPlan
from jan.engine.isolation.process_engine import ProcessEngine
from jan.engine.rules import EngineRules

ABOUT = (
    "The echo engine on a thread of the server, and in a process of its own: CPU time of both sides together, and "
    "the time of a whole answer of 16 tokens. Then its process is killed: from that to the next answer, beside "
    "the start of the same process and the second that the server waits before it."
)
COLUMNS = (
    Column("cpu_per_token", "CPU µs / token", 1, 1e6),
    Column("set_up", "set-up CPU ms", 2, 1e3),
    Column("p50", "p50 ms", 2, 1e3),
    Column("failed", "failed ms", 1, 1e3),
    Column("served", "served again s", 2),
)
_THREAD, _PROCESS, _START = "thread", "process", "start and backoff"
_FULL, _PACED, _WHOLE, _KILLED = "64 streams", "64 streams, paced", "whole answers", "after a kill"
_STREAMS = {_FULL: Streams(64), _PACED: Streams(64, lengths=(20, 140), step_seconds=0.01)}
# Case, and the most of the thread's CPU time a token that was aimed at.
_AIMS = ((_PACED, 1.1), (_FULL, 1.5))
_MOST_LATER_SECONDS = 0.00025
_MOST_OF_A_START = 1.2
_WORDS = 16
_LONG = 400
_PER_SECOND, _QUICK = 400, 16
_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.005


def run(plan: Plan) -> Result:
    """Measure both, and the return of the process."""
    rows: list[Row] = []
    with ExitStack() as stack:
        stage = Stage(stack, plan)
        models = streaming_models(slots=64, longest=437)
        isolated = [{**model, "isolation": "process"} for model in models]
        servers = {
            _THREAD: stage.enter(jan_server(plan.folder, models)),
            _PROCESS: stage.enter(jan_server(plan.folder, isolated, name="isolated")),
        }
        client = stage.enter(load_client())
        for case in plan.chosen((*_STREAMS, _WHOLE, _KILLED)):
            measures, comparison = _measures(case, servers, client, plan)
            rows += stage.alternate(case, measures, comparison)
    return Result(
        scenario="isolation",
        about=ABOUT,
        headline="cpu_per_token",
        columns=COLUMNS,
        rows=tuple(rows),
        targets=_targets(rows),
        ratio_title="this / first",
        missing=stage.missing,
    )


def _measures(
    case: str, servers: Mapping[str, ServerUnderTest], client: LoadClient, plan: Plan
) -> tuple[dict[str, Measure], Comparison]:
    if case in _STREAMS:
        streams = sized(_STREAMS[case], plan)
        contestants = {name: Contestant(server, ours=True) for name, server in servers.items()}
        made = {name: measured(client, one, streams) for name, one in contestants.items()}
        return made, Comparison("cpu_per_token", _THREAD, base_first=False)
    if case == _WHOLE:
        count = plan.sized(_PER_SECOND, _QUICK)
        made = {name: _whole(client, server, count) for name, server in servers.items()}
        return made, Comparison("p50", _THREAD, base_first=False)
    made = {_START: _bare_start, _PROCESS: _killed(servers[_PROCESS])}
    return made, Comparison("served", _START, base_first=False)


def _whole(client: LoadClient, server: ServerUnderTest, count: int) -> Measure:
    """Measure whole answers, one after the other."""
    job = LoadJob(
        port=server.port, requests=(request(CHAT, chat_body("echo", _WORDS, stream=False)),), repeats=count
    )

    def once() -> Mapping[str, float]:
        return {"p50": percentile(client.run(job).latencies, 0.5)}

    return once


def _bare_start() -> Mapping[str, float]:
    """Measure the start of a process, and add the time that the server waits before it."""

    async def start() -> float:
        engine = ProcessEngine("echo", BackendPlan(kind="echo", file=None, options={}))
        began = time.perf_counter()
        await engine.start(lambda _part: None)
        seconds = time.perf_counter() - began
        await engine.close()
        return seconds

    return {"served": asyncio.run(start()) + EngineRules().backoff_seconds}


def _killed(server: ServerUnderTest) -> Measure:
    """Kill the process of a model beneath a stream, which then ends with an error, and ask until it answers
    again."""
    short, key = {**chat_body("paced", _WORDS, stream=False), "max_tokens": 1}, admin_key(server)
    body = msgspec.json.encode(short)

    def once() -> Mapping[str, float]:
        call(server, CHAT, body, key)
        with socket.create_connection(("127.0.0.1", server.port), timeout=_PATIENCE_SECONDS) as stream:
            stream.sendall(request(CHAT, {**chat_body("paced", _WORDS), "max_tokens": _LONG}, headers=bearer(key)))
            _read_until(stream, b'"content":"w')
            began = time.perf_counter()
            os.kill(_process_of(server, "paced"), signal.SIGKILL)
            _read_until(stream, b"engine_dead")
            failed = time.perf_counter() - began
        while time.perf_counter() - began < _PATIENCE_SECONDS:
            try:
                call(server, CHAT, body, key)
            except BenchError:
                time.sleep(_LOOK_SECONDS)
            else:
                return {"failed": failed, "served": time.perf_counter() - began}
        raise BenchError("The model did not serve again.")

    return once


def _read_until(stream: socket.socket, mark: bytes) -> None:
    """Read until ``mark`` has come. Raises BenchError if the stream ends first."""
    seen = b""
    while mark not in seen:
        if not (data := stream.recv(65536)):
            raise BenchError(f"The stream ended before {mark.decode()!r}.")
        seen = seen[-len(mark) :] + data


def _process_of(server: ServerUnderTest, model: str) -> int:
    """Return the id of a model's process. Raises BenchError if there is none."""
    for process in psutil.Process(server.pid).children():
        if process.cmdline()[-1:] == [model]:
            return int(process.pid)
    raise BenchError(f"The model '{model}' has no process.")


def _targets(rows: Sequence[Row]) -> tuple[Target, ...]:
    whole, thread = row_of(rows, _WHOLE, _PROCESS), row_of(rows, _WHOLE, _THREAD)
    later = None
    if whole is not None and thread is not None:
        later = (whole.values["p50"].median - thread.values["p50"].median) * 1e3
    return (
        *(
            Target.at_most(f"{case}: CPU a token at most {most:g} of the thread's", most, _ratio(rows, case))
            for case, most in _AIMS
        ),
        Target.at_most("whole answers: p50 at most 0.25 ms later", _MOST_LATER_SECONDS * 1e3, later),
        Target.at_most("served again within 1.2 of a start and backoff", _MOST_OF_A_START, _ratio(rows, _KILLED)),
    )


def _ratio(rows: Sequence[Row], case: str) -> float | None:
    row = row_of(rows, case, _PROCESS)
    return None if row is None or row.ratio is None else row.ratio.median
