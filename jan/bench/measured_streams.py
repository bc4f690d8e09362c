"""Streams of several lengths, measured: what one costs, its set-up apart from its tokens."""

from collections.abc import Mapping
from statistics import mean

import msgspec

from jan.bench.bench_error import BenchError
from jan.bench.contestants import Contestant, Streams, stream_job
from jan.bench.fit import Line
from jan.bench.helper_processes import LoadClient
from jan.bench.load_generator import LoadOutcome
from jan.bench.plan import Plan
from jan.bench.results import Column
from jan.bench.rounds import Measure

STREAM_COLUMNS = (
    Column("per_cpu_second", "tokens / CPU s"),
    Column("cpu_per_token", "CPU µs / token", 1, 1e6),
    Column("token", "CPU µs / extra token", 1, 1e6),
    Column("set_up", "set-up CPU ms", 2, 1e3),
    Column("per_second", "tokens / s"),
    Column("delivered", "delivered / generated", 2),
    Column("merged", "% of streams merged", 1, 100),
    Column("frames_per_read", "frames / read", 1),
)
_PER_SECOND = 40_000
_SHORT_STREAMS = 1024
_MOST_SHORT_RUNS = 8
_QUICK_STREAMS = 32
_QUICK_LENGTHS = (5, 20)


def sized(streams: Streams, plan: Plan) -> Streams:
    """Repeat the streams of each connection if the plan has time for it. Short streams run several times: they
    take little CPU time and decide the cost of set-up."""
    if plan.quick:
        at_once = min(streams.at_once, _QUICK_STREAMS)
        return msgspec.structs.replace(streams, at_once=at_once, lengths=_QUICK_LENGTHS)
    runs = min(_MOST_SHORT_RUNS, _SHORT_STREAMS // streams.at_once)
    tokens = streams.at_once * max(streams.lengths)
    repeats = 1 if streams.step_seconds else max(1, int(_PER_SECOND * plan.seconds) // tokens)
    return msgspec.structs.replace(streams, repeats=repeats, short_runs=runs)


def measured(client: LoadClient, contestant: Contestant, streams: Streams) -> Measure:
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
