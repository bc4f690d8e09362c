"""Alternating rounds (A B C, A B C, ...), which are fair to all even if the machine's speed drifts."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from jan.bench.bench_error import BenchError
from jan.bench.results import OURS, Row, Spread

#: Measures once and returns the values by name.
Measure = Callable[[], Mapping[str, float]]


class Comparison(msgspec.Struct, frozen=True):
    """How to compare the contestants of a scenario with one of them, ``base``.

    A contestant's ratio is the ``headline`` value of ``base`` divided by its own; if ``base_first`` is False, its
    own divided by that of ``base``.
    """

    headline: str
    base: str = OURS
    base_first: bool = True

    def with_ratios(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows with the ratio of each contestant but ``base``; unchanged if ``base`` has no row."""
        base = next((row.values[self.headline] for row in rows if row.who == self.base), None)
        if base is None:
            return list(rows)
        return [row if row.who == self.base else self._compared(row, base) for row in rows]

    def _compared(self, row: Row, base: Spread) -> Row:
        other = row.values[self.headline]
        return msgspec.structs.replace(row, ratio=base.over(other) if self.base_first else other.over(base))


def alternate(
    case: str, contestants: Mapping[str, Measure], comparison: Comparison, *, rounds: int, warm_up: bool
) -> tuple[list[Row], dict[str, str]]:
    """Measure each contestant once a round. Return a row for each, and why others were left out, by name.

    A contestant that fails in any round is left out. With ``warm_up`` there is one more round at the beginning,
    whose values are not used.

    Raises:
        BenchError: if ours fails, or the contestant that others are compared with.
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
                if name in (OURS, comparison.base):
                    raise BenchError(f"{case}: {error.message}") from error
                missing[name] = error.message
                continue
            if number >= warm_up:
                samples[name].append(values)
    rows = [Row(case, name, _spreads(taken)) for name, taken in samples.items() if name not in missing]
    return comparison.with_ratios(rows), missing


def _spreads(taken: list[Mapping[str, float]]) -> dict[str, Spread]:
    return {name: Spread.of([values[name] for values in taken]) for name in taken[0]}
