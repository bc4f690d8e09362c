"""``contention``: how much busy clients take from the model's thread, which shares Python with their requests."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType

from jan.bench.client import LoadClient, load_client
from jan.bench.load import Job
from jan.bench.ours import CHAT, echo_model, jan_server
from jan.bench.plan import Plan, Stage
from jan.bench.processes import Server
from jan.bench.recording import chat_body
from jan.bench.results import Column, Result, Row, Target, percentile, ratio_to
from jan.bench.rounds import Comparison, Measure
from jan.bench.wire import request

ABOUT = (
    "Eight streams of a model whose step takes 10 ms outside of Python, as a GPU's does, while other clients "
    "send request after request, without a pause, that has nothing to do with the model (GET /v1/models)."
)
COLUMNS = (
    Column("tokens_per_second", "engine tokens / s", 1),
    Column("requests_per_second", "other requests / s"),
)
_ALONE = "0 clients"
_BUSY = MappingProxyType({_ALONE: 0, "64 clients": 64, "256 clients": 256})
_CASE = "8 streams"
_STREAMS = 8
_STEP_SECONDS = 0.01
_WORDS = 50
_QUICK = 10
# The others work for a while before anything is measured.
_SETTLE_SECONDS = 0.5


def run(plan: Plan) -> Result:
    """Measure."""
    rows: list[Row] = []
    tokens = plan.sized(int(2 / _STEP_SECONDS), _QUICK)
    with ExitStack() as stack:
        stage = Stage(stack, plan)
        models = [echo_model(repeat=tokens // _WORDS + 1, step_seconds=_STEP_SECONDS)]
        server, client = stage.enter(jan_server(plan.folder, models)), stage.enter(load_client())
        for case in plan.chosen((_CASE,)):
            measures = {name: _measure(client, server, busy, tokens) for name, busy in _BUSY.items()}
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


def _measure(client: LoadClient, server: Server, busy: int, tokens: int) -> Measure:
    data = request(CHAT, {**chat_body("echo", _WORDS), "max_tokens": tokens})
    streams = Job(port=server.port, requests=(data,), connections=_STREAMS)

    def once() -> Mapping[str, float]:
        if not busy:
            return {"tokens_per_second": _rate(client, streams, tokens), "requests_per_second": 0.0}
        with load_client() as others:
            # Ended by its process's end, when the streams are complete.
            others.begin(Job(port=server.port, requests=(request("/v1/models"),), connections=busy, repeats=10**9))
            time.sleep(_SETTLE_SECONDS)
            before, since = _served(server), time.perf_counter()
            rate = _rate(client, streams, tokens)
            served = (_served(server) - before) / (time.perf_counter() - since)
        return {"tokens_per_second": rate, "requests_per_second": served}

    return once


def _rate(client: LoadClient, streams: Job, tokens: int) -> float:
    """Tokens a second from the first piece on: how soon a stream begins is another matter."""
    outcome = client.run(streams)
    seconds = percentile(outcome.latencies, 0.5) - percentile(outcome.first, 0.5)
    return _STREAMS * tokens / seconds


def _served(server: Server) -> int:
    """Requests answered so far, by the server's log."""
    return server.output.count('"route": "models"')


def _targets(rows: Sequence[Row]) -> tuple[Target, ...]:
    return (Target.at_least("64 clients: at least 0.95 of alone", 0.95, ratio_to(rows, _CASE, "64 clients")),)
