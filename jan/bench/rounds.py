"""Alternating rounds: A B C, A B C, ... so that a machine whose speed drifts is unfair to nobody."""

from collections.abc import Callable, Mapping

from jan.bench.errors import BenchError
from jan.bench.results import Row, Spread

OURS = "jan"
#: Measures once; the values by name.
Measure = Callable[[], Mapping[str, float]]


def alternate(
    case: str, contestants: Mapping[str, Measure], *, rounds: int, warm_up: bool, headline: str
) -> tuple[list[Row], dict[str, str]]:
    """Measure each contestant once a round: a row for each, and why any was left out.

    A contestant that fails in any round is out, unless it is ours: then BenchError is raised. A first round
    to warm up is not counted.
    """
    samples: dict[str, list[Mapping[str, float]]] = {name: [] for name in contestants}
    missing: dict[str, str] = {}
    for number in range(rounds + warm_up):
        for name, measure in contestants.items():
            if name in missing:
                continue
            try:
                values = measure()
            except BenchError as error:
                if name == OURS:
                    raise
                missing[name] = error.message
                continue
            if number >= warm_up:
                samples[name].append(values)
    rows = [Row(case, name, _spreads(taken)) for name, taken in samples.items() if name not in missing]
    return _with_ratios(rows, headline), missing


def _spreads(taken: list[Mapping[str, float]]) -> dict[str, Spread]:
    return {name: Spread.of([values[name] for values in taken]) for name in taken[0]}


def _with_ratios(rows: list[Row], headline: str) -> list[Row]:
    ours = next((row.values[headline] for row in rows if row.who == OURS), None)
    return [
        row
        if ours is None or row.who == OURS
        else Row(row.case, row.who, row.values, ours.over(row.values[headline]))
        for row in rows
    ]
