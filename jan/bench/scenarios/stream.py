"""``stream``: the echo engine's answers as server-sent events; what the server's CPU time goes into."""

from collections.abc import Mapping
from contextlib import ExitStack
from statistics import mean

import msgspec

from jan.bench.bench_error import BenchError
from jan.bench.contestants import Contestant, Streams, start_contestants, stream_job
from jan.bench.fit import Line
from jan.bench.former import FORMER, notes_on
from jan.bench.helper_processes import LoadClient, load_client
from jan.bench.limit import BARE
from jan.bench.load_generator import LoadOutcome
from jan.bench.peers.frameworks import FASTAPI
from jan.bench.plan import Plan, Stage
from jan.bench.results import OURS, Column, Result, Row, Target, cost_ratio, ratio_to
from jan.bench.rounds import Comparison, Measure

ABOUT = (
    "The echo engine; what a CPU second of the server's processes delivers, engine included: streams of 437 "
    "tokens at full speed and of 600 when paced, with a token for each stream every 10 ms, as of a fast GPU. "
    "Streams of 20 tokens beside them tell the set-up of a stream from the cost of an extra token. "
    "Beside our server: a bare asyncio protocol that writes the same bytes from memory, frameworks that encode "
    "the same chunks, and LiteLLM's proxy in front of the bare protocol, with streams of 30 tokens. At full speed "
    "the engine runs ahead, and our server then sends the frames of several tokens in one write."
)
COLUMNS = (
    Column("per_cpu_second", "tokens / CPU s"),
    Column("cpu_per_token", "CPU µs / token", 1, 1e6),
    Column("token", "CPU µs / extra token", 1, 1e6),
    Column("set_up", "set-up CPU ms", 2, 1e3),
    Column("per_second", "tokens / s"),
    Column("delivered", "delivered / generated", 2),
    Column("merged", "% of streams merged", 1, 100),
    Column("frames_per_read", "frames / read", 1),
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
_PER_SECOND = 40_000
_SHORT_STREAMS = 1024
_MOST_SHORT_RUNS = 8
_QUICK_STREAMS = 32
_QUICK_LENGTHS = (5, 20)


def run(plan: Plan) -> Result:
    """Measure all contestants in the cases of the plan."""
    rows: list[Row] = []
    with ExitStack() as stack:
        stage = Stage(stack, plan)
        most = max(streams.at_once for streams in _CASES.values())
        longest = max(max(streams.lengths) for streams in _CASES.values())
        contestants = start_contestants(stage, plan, slots=most, longest=longest)
        client = stage.enter(load_client())
        for case in plan.chosen(tuple(_CASES)):
            streams = _sized(_CASES[case], plan)
            measures = {
                name: _measure(client, one, streams)
                for name, one in contestants.items()
                if streams.at_once <= one.most_streams
            }
            rows += stage.alternate(case, measures, Comparison("per_cpu_second"))
    return Result(
        scenario="stream",
        about=ABOUT,
        headline="per_cpu_second",
        columns=COLUMNS,
        rows=tuple(rows),
        targets=_targets(rows),
        ratio_title="ours / this",
        missing=stage.missing,
        notes=notes_on(plan.against),
    )


def _sized(streams: Streams, plan: Plan) -> Streams:
    """Repeat the streams of each connection if the plan has time for it. Short streams run several times: they
    take little CPU time and decide the cost of set-up."""
    if plan.quick:
        at_once = min(streams.at_once, _QUICK_STREAMS)
        return msgspec.structs.replace(streams, at_once=at_once, lengths=_QUICK_LENGTHS)
    runs = min(_MOST_SHORT_RUNS, _SHORT_STREAMS // streams.at_once)
    tokens = streams.at_once * max(streams.lengths)
    repeats = 1 if streams.step_seconds else max(1, int(_PER_SECOND * plan.seconds) // tokens)
    return msgspec.structs.replace(streams, repeats=repeats, short_runs=runs)


def _measure(client: LoadClient, contestant: Contestant, streams: Streams) -> Measure:
    """Measure streams of each length. Returns the values of the longest ones, and the costs separated by all of
    them."""
    lengths = sorted(contestant.lengths or streams.lengths)
    repeats = 1 if contestant.lengths else streams.repeats

    def once() -> Mapping[str, float]:
        costs, values = {}, dict[str, float]()
        for tokens in lengths:
            job, taken = stream_job(contestant, streams, tokens, repeats), []
            for _ in range(1 if tokens == lengths[-1] else streams.short_runs):
                outcome, cpu = client.run_measured(job, contestant.server)
                values = _values(contestant, tokens, outcome, cpu)
                taken.append(cpu / outcome.answers)
            costs[tokens] = mean(taken)
        if len(costs) > 1:
            line = Line.through(costs)
            values |= {"token": line.token, "set_up": line.set_up}
        return values

    return once


def _values(contestant: Contestant, tokens: int, outcome: LoadOutcome, cpu: float) -> dict[str, float]:
    """Return the values of streams of ``tokens`` tokens each. Raises BenchError if tokens are missing."""
    generated = tokens * outcome.answers
    delivered = outcome.frames - contestant.around * outcome.answers
    if contestant.ours and outcome.tokens != generated:
        raise BenchError(f"{outcome.tokens} tokens were generated, and {generated} were asked for.")
    if not contestant.ours and delivered != generated:
        raise BenchError(f"{delivered} frames came, and {generated} were expected.")
    return {
        "per_cpu_second": generated / cpu,
        "cpu_per_token": cpu / generated,
        "per_second": generated / outcome.seconds,
        "delivered": delivered / generated,
        "merged": outcome.merged / outcome.answers,
        "frames_per_read": outcome.frames / outcome.reads,
    }


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
