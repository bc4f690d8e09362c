"""``stream``: the echo engine's answers as server-sent events; what the server's CPU time goes into."""

from collections.abc import Mapping
from contextlib import ExitStack

from jan.bench.contestants import Streams, start_contestants
from jan.bench.former import FORMER, notes_on
from jan.bench.helper_processes import load_client
from jan.bench.limit import BARE
from jan.bench.measured_streams import STREAM_COLUMNS, measured, sized
from jan.bench.peers.frameworks import FASTAPI
from jan.bench.plan import Plan, Stage
from jan.bench.results import OURS, Result, Row, Target, cost_ratio, ratio_to
from jan.bench.rounds import Comparison
from jan.bench.scenarios.stream_apis import run_apis

ABOUT = (
    "The echo engine; what a CPU second of the server's processes delivers, engine included: streams of 437 "
    "tokens at full speed and of 600 when paced, with a token for each stream every 10 ms, as of a fast GPU. "
    "Streams of 20 tokens beside them tell the set-up of a stream from the cost of an extra token. "
    "Beside our server: a bare asyncio protocol that writes the same bytes from memory, frameworks that encode "
    "the same chunks, and LiteLLM's proxy in front of the bare protocol, with streams of 30 tokens. At full speed "
    "the engine runs ahead, and our server then sends the frames of several tokens in one write."
)
_FULL = "64 streams"
_MANY = "256 streams"
_CROWD = "1,024 streams"
_PACED = "64 streams, paced"
_CASES: Mapping[str, Streams] = {
    "1 stream": Streams(1),
    "16 streams": Streams(16),
    _FULL: Streams(64),
    _MANY: Streams(256),
    _CROWD: Streams(1024),
    _PACED: Streams(64, lengths=(20, 600), step_seconds=0.01),
}
# Case, contestant, and the least of its tokens a CPU second that were aimed at.
_FASTER = (
    (_FULL, BARE, 1.0),
    (_MANY, BARE, 0.8),
    (_PACED, BARE, 0.47),
    (_FULL, FASTAPI.name, 2.0),
    (_PACED, FASTAPI.name, 1.45),
)
# Case, contestant, measure, and the most of its cost that was aimed at.
_CHEAPER = (
    (_PACED, FORMER, "cpu_per_token", 0.65),
    (_CROWD, FORMER, "cpu_per_token", 1.0),
    (_FULL, FORMER, "set_up", 0.6),
    (_MANY, FORMER, "set_up", 0.6),
    (_FULL, FASTAPI.name, "set_up", 1.0),
    (_MANY, FASTAPI.name, "set_up", 1.0),
)


def run(plan: Plan) -> Result:
    """Measure all contestants in the cases of the plan, or the APIs of our server that it names."""
    if plan.apis:
        return run_apis(plan)
    rows: list[Row] = []
    with ExitStack() as stack:
        stage = Stage(stack, plan)
        most = max(streams.at_once for streams in _CASES.values())
        longest = max(max(streams.lengths) for streams in _CASES.values())
        contestants = start_contestants(stage, plan, slots=most, longest=longest)
        client = stage.enter(load_client())
        for case in plan.chosen(tuple(_CASES)):
            streams = sized(_CASES[case], plan)
            measures = {
                name: measured(client, one, streams)
                for name, one in contestants.items()
                if streams.at_once <= one.most_streams
            }
            rows += stage.alternate(case, measures, Comparison("per_cpu_second"))
    return Result(
        scenario="stream",
        about=ABOUT,
        headline="per_cpu_second",
        columns=STREAM_COLUMNS,
        rows=tuple(rows),
        targets=_targets(rows),
        ratio_title="ours / this",
        missing=stage.missing,
        notes=notes_on(plan.against),
    )


def _targets(rows: list[Row]) -> tuple[Target, ...]:
    delivered = [row.values["delivered"].median for row in rows if row.who == OURS]
    return (
        *(_faster(rows, *aim) for aim in _FASTER),
        *(_cheaper(rows, *aim) for aim in _CHEAPER),
        Target.at_least("delivered / generated 1.00", 0.995, min(delivered, default=None)),
    )


def _faster(rows: list[Row], case: str, who: str, least: float) -> Target:
    return Target.at_least(f"{case}: at least {least:g} of {who}", least, ratio_to(rows, case, who))


def _cheaper(rows: list[Row], case: str, who: str, measure: str, most: float) -> Target:
    title = "set-up" if measure == "set_up" else "CPU a token"
    return Target.at_most(
        f"{case}: {title} at most {most:g} of {who}'s", most, cost_ratio(rows, case, who, measure)
    )
