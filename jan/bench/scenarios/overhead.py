"""``overhead``: what keys, limits, usage and the store add to a request."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from types import MappingProxyType

import msgspec

from jan.bench.former import FORMER, notes_on, try_former
from jan.bench.helper_processes import LoadClient, load_client
from jan.bench.limit import HANDLER, bare_handler, bare_server
from jan.bench.load_generator import LoadJob
from jan.bench.ours import CHAT, LIMITED, admin_key, echo_model, jan_server
from jan.bench.peers.litellm import KEY, LITELLM, litellm_proxy
from jan.bench.plan import Plan, Stage
from jan.bench.processes import ServerUnderTest
from jan.bench.raw_http import bearer, request
from jan.bench.recording import Recording, chat_body, record
from jan.bench.results import OURS, Column, Result, Row, Spread, Target, cost_ratio, percentile, ratio_to, row_of
from jan.bench.rounds import Comparison, Measure

ABOUT = (
    "Chat completions that are not streamed, of 16 tokens from the echo engine, with an API key, limits of "
    "requests and tokens, and usage kept in SQLite. Beside it: a Tornado handler that sends the same answer and "
    "does nothing else; LiteLLM's proxy with a key and no store, in front of a bare protocol that sends the same "
    "answer. Added is what a request takes beyond the bare handler's, at the same place among all requests by "
    "their times."
)
_PARTS = MappingProxyType({"p50": 0.50, "p95": 0.95, "p99": 0.99})
COLUMNS = (
    Column("per_second", "requests / s"),
    Column("cpu", "CPU ms", 2, 1e3),
    *(Column(name, f"{name} ms", 2, 1e3) for name in _PARTS),
    *(Column(f"added_{name}", f"{name} added ms", 2, 1e3) for name in _PARTS),
)
_ONE = "1 client"
_MANY = "16 clients"
_CASES = MappingProxyType({_ONE: 1, _MANY: 16})
_PER_SECOND = 400
_QUICK = 32
_WORDS = 16


def run(plan: Plan) -> Result:
    """Measure all contestants with one client and with many."""
    rows: list[Row] = []
    with ExitStack() as stack:
        stage = Stage(stack, plan)
        client = stage.enter(load_client())
        contestants = _start(stage, plan)
        for case in plan.chosen(tuple(_CASES)):
            count = max(1, plan.sized(_PER_SECOND, _QUICK) // _CASES[case])
            measures = {
                name: _measure(client, server, data, _CASES[case], count)
                for name, (server, data) in contestants.items()
            }
            rows += _with_added(stage.alternate(case, measures, Comparison("per_second")))
    return Result(
        scenario="overhead",
        about=ABOUT,
        headline="per_second",
        columns=COLUMNS,
        rows=tuple(rows),
        targets=_targets(rows),
        ratio_title="ours / this",
        missing=stage.missing,
        notes=notes_on(plan.against),
    )


def _start(stage: Stage, plan: Plan) -> dict[str, tuple[ServerUnderTest, bytes]]:
    """Start the servers. Returns each by name, with the request to send it."""
    models = [echo_model(), echo_model("paced", step_seconds=0.005)]
    with jan_server(plan.folder, models) as source:
        recording = record(source.port, "paced", words=_WORDS)
    ours = stage.enter(jan_server(plan.folder, models, limits=LIMITED))
    body = chat_body("echo", _WORDS, stream=False)
    handler = stage.enter(bare_handler(recording, plan.folder))
    data = request(CHAT, body, headers=bearer(admin_key(ours)))
    contestants = {OURS: (ours, data), HANDLER: (handler, data)}
    former = try_former(stage, plan, models, limits=LIMITED)
    if former is not None:
        contestants[FORMER] = (former, request(CHAT, body, headers=bearer(admin_key(former))))
    proxy = stage.try_peer(LITELLM.name, partial(_proxy, recording, plan))
    if proxy is not None:
        contestants[LITELLM.name] = (proxy, request(CHAT, body, headers=bearer(KEY)))
    return contestants


@contextmanager
def _proxy(recording: Recording, plan: Plan) -> Iterator[ServerUnderTest]:
    """Run LiteLLM in front of the bare protocol."""
    with (
        bare_server(recording, plan.folder) as upstream,
        litellm_proxy(upstream, ("echo",), plan.folder, plan.cache) as server,
    ):
        yield server


def _measure(client: LoadClient, server: ServerUnderTest, data: bytes, connections: int, count: int) -> Measure:
    def once() -> Mapping[str, float]:
        job = LoadJob(port=server.port, requests=(data,), connections=connections, repeats=count)
        outcome, cpu = client.run_measured(job, server)
        times = {name: percentile(outcome.latencies, part) for name, part in _PARTS.items()}
        return {"per_second": outcome.answers / outcome.seconds, "cpu": cpu / outcome.answers, **times}

    return once


def _with_added(rows: Sequence[Row]) -> list[Row]:
    """Add to each row what it takes beyond the bare handler in the same round."""
    least = next(row for row in rows if row.who == HANDLER)
    made = []
    for row in rows:
        added = (
            {}
            if row is least
            else {f"added_{name}": _minus(row.values[name], least.values[name]) for name in _PARTS}
        )
        made.append(msgspec.structs.replace(row, values={**row.values, **added}))
    return made


def _minus(more: Spread, less: Spread) -> Spread:
    return Spread.of([one - other for one, other in zip(more.samples, less.samples, strict=True)])


def _targets(rows: Sequence[Row]) -> tuple[Target, ...]:
    ours = row_of(rows, _ONE, OURS)
    added = None if ours is None else ours.values["added_p50"].median * 1e3
    times = ratio_to(rows, _MANY, LITELLM.name)
    costs = [(case, cost_ratio(rows, case, FORMER, "cpu")) for case in _CASES]
    return (
        Target.at_most("1 client: p50 added under 2 ms", 2.0, added),
        *(Target.at_most(f"{case}: CPU a request at most 0.8 of {FORMER}'s", 0.8, cost) for case, cost in costs),
        Target.at_least(f"16 clients: at least 5 times the requests of {LITELLM.name}", 5.0, times),
    )
