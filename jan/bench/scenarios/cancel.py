"""``cancel``: how long after a client has left its slot serves the next one."""

import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack

from jan.bench.bench_error import BenchError
from jan.bench.ours import CHAT, echo_model, jan_server
from jan.bench.plan import Plan, Stage
from jan.bench.processes import ServerUnderTest
from jan.bench.raw_http import request
from jan.bench.recording import chat_body
from jan.bench.results import Column, Result, Row, percentile
from jan.bench.rounds import Comparison, Measure

ABOUT = (
    "A model with one slot, whose steps take 5 ms. From when a client drops its connection in the middle of its "
    "answer to the first token of the next client, who waits in the queue; beside the first token of a model "
    "that nobody uses. Both include a step."
)
COLUMNS = (
    Column("p50", "p50 ms", 2, 1e3),
    Column("p95", "p95 ms", 2, 1e3),
    Column("longest", "longest ms", 2, 1e3),
)
_CASE = "one slot"
_LEFT, _FREE = "slot of who left", "free slot"
_STEP_SECONDS = 0.005
_WORDS = 50
_TIMEOUT_SECONDS = 20.0
_PER_SECOND = 20
_QUICK = 3


def run(plan: Plan) -> Result:
    """Measure a slot that a client has left, and a free one."""
    rows: list[Row] = []
    options = {"slots": 1, "step_seconds": _STEP_SECONDS, "repeat": 1000}
    times = plan.sized(_PER_SECOND, _QUICK)
    with ExitStack() as stack:
        stage = Stage(stack, plan)
        models = [echo_model("busy", **options), echo_model("idle", **options)]
        server = stage.enter(jan_server(plan.folder, models))
        for case in plan.chosen((_CASE,)):
            measures = {_LEFT: _taken_over(server, times), _FREE: _free(server, times)}
            rows += stage.alternate(case, measures, Comparison("p50", _FREE, base_first=False))
    return Result(
        scenario="cancel",
        about=ABOUT,
        headline="p50",
        columns=COLUMNS,
        rows=tuple(rows),
        targets=(),
        ratio_title="this / free",
        missing=stage.missing,
    )


class _Stream:
    """A client that reads part of its stream and then leaves."""

    def __init__(self, server: ServerUnderTest, model: str) -> None:
        self._connection = socket.create_connection(("127.0.0.1", server.port), timeout=_TIMEOUT_SECONDS)
        self._connection.sendall(request(CHAT, chat_body(model, _WORDS)))
        self._seen = b""

    def wait_for(self, mark: bytes) -> None:
        """Read until ``mark`` has come. Raises BenchError if the stream ends first."""
        while mark not in self._seen:
            data = self._connection.recv(65536)
            if not data:
                raise BenchError(f"The stream ended before {mark.decode()!r}: {self._seen.decode()[:200]}.")
            self._seen += data

    def first_token(self) -> None:
        """Read until there is text."""
        self.wait_for(b'"content":"w')

    def leave(self) -> None:
        """Drop the connection at once."""
        self._connection.close()


def _taken_over(server: ServerUnderTest, times: int) -> Measure:
    """Have each client take the slot of the one before."""

    def once() -> Mapping[str, float]:
        taken, holder = [], _Stream(server, "busy")
        holder.first_token()
        for _ in range(times):
            waiting = _Stream(server, "busy")
            waiting.wait_for(b": queued")
            began = time.perf_counter()
            holder.leave()
            waiting.first_token()
            taken.append(time.perf_counter() - began)
            holder = waiting
        holder.leave()
        return _summary(taken)

    return once


def _free(server: ServerUnderTest, times: int) -> Measure:
    def once() -> Mapping[str, float]:
        taken = []
        for _ in range(times):
            began = time.perf_counter()
            stream = _Stream(server, "idle")
            stream.first_token()
            taken.append(time.perf_counter() - began)
            stream.leave()
            # Until the slot is free again.
            time.sleep(10 * _STEP_SECONDS)
        return _summary(taken)

    return once


def _summary(taken: list[float]) -> Mapping[str, float]:
    return {"p50": percentile(taken, 0.5), "p95": percentile(taken, 0.95), "longest": max(taken)}
