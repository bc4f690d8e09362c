"""``start``: what it takes to import the server, to be ready, and to hold many streams."""

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack

from jan.bench.bench_error import BenchError
from jan.bench.helper_processes import LoadClient, load_client
from jan.bench.load_generator import LoadJob
from jan.bench.ours import CHAT, echo_model, jan_server
from jan.bench.plan import Plan, Stage
from jan.bench.processes import ServerUnderTest, own_environment
from jan.bench.raw_http import request
from jan.bench.recording import chat_body
from jan.bench.results import OURS, Column, Result, Row, Target, row_of
from jan.bench.rounds import Comparison, Measure

ABOUT = (
    "The CPU time of an interpreter that imports the server with all its handlers and no engine, from the second "
    "start on; the time from the command to the first answer of /ready, with the echo engine and a new store; "
    "resident memory then, with 256 streams under way, and after them."
)
COLUMNS = (
    Column("cpu", "CPU s", 3),
    Column("seconds", "s", 2),
    Column("resident", "resident MB", 1, 1e-6),
)
_IMPORT, _READY, _STREAMS_CASE = "import", "ready", "256 streams"
_ALONE, _AFTERWARDS = "python alone", "jan, afterwards"
# The imports of `jan serve` before it loads a model.
_IMPORTS = """
import jan.application, jan.cli.commands
from jan.settings.load import default_config_file, load_settings
from jan.routing.table import resolve_routes
settings = load_settings(default_config_file())
resolve_routes(settings.routes, settings.server.api_prefixes)
"""
_MOST_CPU_SECONDS = 0.5
_STREAMS = 256
_STEP_SECONDS = 0.02
_TOKENS = 150
_QUICK_TOKENS = 30
_WORDS = 50
_IMPORT_SECONDS = 60.0


def run(plan: Plan) -> Result:
    """Measure importing, starting and many streams."""
    rows: list[Row] = []
    with ExitStack() as stack:
        stage = Stage(stack, plan)
        for case in plan.chosen((_IMPORT, _READY, _STREAMS_CASE)):
            rows += _CASES[case](stage, plan)
    ours = row_of(rows, _IMPORT, OURS)
    cpu = None if ours is None else ours.values["cpu"].median
    return Result(
        scenario="start",
        about=ABOUT,
        headline="resident",
        columns=COLUMNS,
        rows=tuple(rows),
        targets=(Target.at_most("import under 0.5 s of CPU without engines", _MOST_CPU_SECONDS, cpu),),
        ratio_title="ours / this",
        missing=stage.missing,
    )


def _imports(stage: Stage, plan: Plan) -> list[Row]:
    # Keep bytecode, as from the second start on, even if the environment forbids it.
    environ = {**own_environment(), "PYTHONPYCACHEPREFIX": str(plan.folder / "bytecode")}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    measures = {OURS: _interpreter(_IMPORTS, environ), _ALONE: _interpreter("pass", environ)}
    return stage.alternate(_IMPORT, measures, Comparison("cpu"))


def _interpreter(code: str, environ: dict[str, str]) -> Measure:
    def once() -> Mapping[str, float]:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environ,
            capture_output=True,
            text=True,
            timeout=_IMPORT_SECONDS,
            check=False,
        )
        seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode != 0:
            raise BenchError(f"The import failed: {done.stderr.strip()[-200:]}.")
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"cpu": cpu, "seconds": seconds}

    return once


def _readiness(stage: Stage, plan: Plan) -> list[Row]:
    measures = {OURS: _ready(lambda: jan_server(plan.folder, [echo_model()]))}
    return stage.alternate(_READY, measures, Comparison("seconds"))


def _ready(start: Callable[[], AbstractContextManager[ServerUnderTest]]) -> Measure:
    def once() -> Mapping[str, float]:
        began = time.perf_counter()
        with start() as server:
            seconds = time.perf_counter() - began
            return {"cpu": server.cpu_seconds(), "seconds": seconds, "resident": server.resident_bytes()}

    return once


def _many_streams(stage: Stage, plan: Plan) -> list[Row]:
    tokens = _QUICK_TOKENS if plan.quick else _TOKENS
    models = [echo_model(repeat=tokens // _WORDS + 1, step_seconds=_STEP_SECONDS)]
    server, client = stage.enter(jan_server(plan.folder, models)), stage.enter(load_client())
    measures: dict[str, Measure] = {
        OURS: lambda: {"resident": _resident_with_streams(client, server, tokens)},
        _AFTERWARDS: lambda: {"resident": server.resident_bytes()},
    }
    return stage.alternate(_STREAMS_CASE, measures, Comparison("resident"))


def _resident_with_streams(client: LoadClient, server: ServerUnderTest, tokens: int) -> float:
    """Return the greatest resident memory in bytes while the streams are running."""
    data = request(CHAT, {**chat_body("echo", _WORDS), "max_tokens": tokens})
    client.begin(LoadJob(port=server.port, requests=(data,), connections=_STREAMS))
    most, until = 0.0, time.monotonic() + tokens * _STEP_SECONDS
    while time.monotonic() < until:
        most = max(most, server.resident_bytes())
        time.sleep(_STEP_SECONDS)
    client.end()
    return most


_CASES: Mapping[str, Callable[[Stage, Plan], Sequence[Row]]] = {
    _IMPORT: _imports,
    _READY: _readiness,
    _STREAMS_CASE: _many_streams,
}
