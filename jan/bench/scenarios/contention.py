"""``contention``: how much busy clients slow a model, whose thread shares Python with their requests or not."""

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType
from typing import Any

from jan.bench.helper_processes import LoadClient, load_client
from jan.bench.load_generator import LoadJob
from jan.bench.ours import CHAT, echo_model, isolated_model, jan_server
from jan.bench.plan import Plan, Stage
from jan.bench.processes import ServerUnderTest
from jan.bench.raw_http import request
from jan.bench.recording import chat_body
from jan.bench.results import Column, Result, Row, Target, percentile, ratio_to
from jan.bench.rounds import Comparison, Measure

ABOUT = (
    "Eight streams of a model whose step takes 10 ms, while other clients send request after request, without a "
    "pause, that has nothing to do with the model (GET /v1/models). The step is outside of Python, as llama.cpp's "
    "is; or 3 ms of it are computed in Python, as by a generator for GPUs that is written in it. The model is on "
    "a thread of the server, or in a process of its own (isolation)."
)
COLUMNS = (
    Column("tokens_per_second", "engine tokens / s", 1),
    Column("requests_per_second", "other requests / s"),
)
_ALONE = "0 clients"
_BUSY = MappingProxyType({_ALONE: 0, "64 clients": 64, "256 clients": 256})
_CASE = "8 streams"
_PYTHON_CASE = "8 streams, 3 ms in Python"
_STREAMS = 8
_STEP_SECONDS = 0.01
_PYTHON_SECONDS = 0.003
_ISOLATED = "{}, in a process"
#: What a step of each case's model takes.
_STEPS = MappingProxyType(
    {
        _CASE: {"step_seconds": _STEP_SECONDS},
        _PYTHON_CASE: {"step_seconds": _STEP_SECONDS - _PYTHON_SECONDS, "python_seconds": _PYTHON_SECONDS},
    }
)
# Case, clients, and the least of its speed alone that was aimed at.
_AIMS = (
    (_CASE, "64 clients", 0.95),
    (_ISOLATED.format(_CASE), "64 clients", 0.97),
    (_ISOLATED.format(_CASE), "256 clients", 0.93),
    (_ISOLATED.format(_PYTHON_CASE), "64 clients", 0.93),
    (_ISOLATED.format(_PYTHON_CASE), "256 clients", 0.92),
)
_WORDS = 50
_QUICK = 10
# Seconds for which the other clients are busy before anything is measured.
_SETTLE_SECONDS = 0.5
# How long an answer to another client is waited for, and between two looks at the log.
_PATIENCE_SECONDS = 30.0
_LOOK_SECONDS = 0.02
# Of a request's line in the log.
_LOG_LINE = re.compile(r'"route": ?"models"')


def run(plan: Plan) -> Result:
    """Measure the model alone and beside busy clients."""
    rows: list[Row] = []
    tokens = plan.sized(int(2 / _STEP_SECONDS), _QUICK)
    with ExitStack() as stack:
        stage = Stage(stack, plan)
        models = _models(tokens)
        server = stage.enter(jan_server(plan.folder, list(models.values())))
        client = stage.enter(load_client())
        for case in plan.chosen(tuple(models)):
            model = models[case]["id"]
            measures = {name: _measure(client, server, model, tokens, busy) for name, busy in _BUSY.items()}
            rows += stage.alternate(case, measures, Comparison("tokens_per_second", _ALONE, base_first=False))
    return Result(
        scenario="contention",
        about=ABOUT,
        headline="tokens_per_second",
        columns=COLUMNS,
        rows=tuple(rows),
        targets=_targets(rows),
        ratio_title="this / alone",
        missing=stage.missing,
    )


def _models(tokens: int) -> dict[str, dict[str, Any]]:
    """Configure the model of each case. Those in a process come last."""
    repeat = tokens // _WORDS + 1
    threads = {case: echo_model(f"thread-{n}", repeat=repeat, **_STEPS[case]) for n, case in enumerate(_STEPS)}
    processes = {
        _ISOLATED.format(case): isolated_model(f"process-{n}", repeat=repeat, **_STEPS[case])
        for n, case in enumerate(_STEPS)
    }
    return {**threads, **processes}


def _measure(client: LoadClient, server: ServerUnderTest, model: str, tokens: int, busy: int) -> Measure:
    """Measure eight streams of ``tokens`` tokens each, beside ``busy`` other clients."""
    data = request(CHAT, {**chat_body(model, _WORDS), "max_tokens": tokens})
    streams = LoadJob(port=server.port, requests=(data,), connections=_STREAMS)

    def once() -> Mapping[str, float]:
        if not busy:
            return {"tokens_per_second": _rate(client, streams, tokens), "requests_per_second": 0.0}
        with load_client() as others:
            # Ends with its process, when the streams are complete.
            others.begin(
                LoadJob(port=server.port, requests=(request("/v1/models"),), connections=busy, repeats=10**9)
            )
            _served_beyond(server, _served(server))
            time.sleep(_SETTLE_SECONDS)
            before, since = _served(server), time.perf_counter()
            rate = _rate(client, streams, tokens)
            served = (_served_beyond(server, before) - before) / (time.perf_counter() - since)
        return {"tokens_per_second": rate, "requests_per_second": served}

    return once


def _rate(client: LoadClient, streams: LoadJob, tokens: int) -> float:
    """Return tokens a second, from the first piece of text on."""
    outcome = client.run(streams)
    seconds = percentile(outcome.latencies, 0.5) - percentile(outcome.first, 0.5)
    return _STREAMS * tokens / seconds


def _served(server: ServerUnderTest) -> int:
    """Count the requests answered so far, by the server's log."""
    return len(_LOG_LINE.findall(server.output))


def _served_beyond(server: ServerUnderTest, before: int) -> int:
    """Wait for an answer beyond the first ``before`` and return the number. A busy machine needs a while."""
    deadline = time.perf_counter() + _PATIENCE_SECONDS
    while (served := _served(server)) <= before and time.perf_counter() < deadline:
        time.sleep(_LOOK_SECONDS)
    return served


def _targets(rows: Sequence[Row]) -> tuple[Target, ...]:
    return tuple(
        Target.at_least(f"{case}, {clients}: at least {least} of alone", least, ratio_to(rows, case, clients))
        for case, clients, least in _AIMS
    )
