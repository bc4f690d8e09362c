"""The results of a run: medians of rounds, ratios within a round, targets met and missed."""

from collections.abc import Sequence
from statistics import median

import msgspec

#: The name of our own server among the contestants.
OURS = "jan"


class Spread(msgspec.Struct, frozen=True):
    """Samples of one measure, a round each: median, least, greatest, and all of them in order."""

    median: float
    low: float
    high: float
    samples: tuple[float, ...]

    @classmethod
    def of(cls, samples: Sequence[float]) -> "Spread":
        """Make a spread of at least one sample."""
        return cls(median(samples), min(samples), max(samples), tuple(samples))

    def over(self, other: "Spread") -> "Spread | None":
        """Return the ratios of values of the same round; None if one of the other's is 0."""
        if not all(other.samples):
            return None
        return Spread.of([mine / theirs for mine, theirs in zip(self.samples, other.samples, strict=True)])


def percentile(samples: Sequence[float], part: float) -> float:
    """Return the sample that the given part (0 to 1) of all samples do not exceed; 0 if there are none."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


class Column(msgspec.Struct, frozen=True):
    """A measure: its name among a row's values, and how it is shown.

    Values are multiplied by ``scale``: seconds are kept where milliseconds are shown.
    """

    name: str
    title: str
    digits: int = 0
    scale: float = 1.0

    def text(self, value: float) -> str:
        """Format a value as it is shown."""
        return f"{value * self.scale:,.{self.digits}f}"


class Row(msgspec.Struct, frozen=True):
    """One contestant in one case.

    ``ratio``: of values of the same round in the scenario's headline measure; the column's title tells which way.
    """

    case: str
    who: str
    values: dict[str, Spread]
    ratio: Spread | None = None


class Target(msgspec.Struct, frozen=True):
    """A figure that was aimed at. ``value`` is None if it was not measured in this run."""

    aim: str
    value: float | None
    met: bool | None

    @classmethod
    def at_least(cls, aim: str, least: float, value: float | None) -> "Target":
        """Make a target that is met by ``least`` and more."""
        return cls(aim, value, None if value is None else value >= least)

    @classmethod
    def at_most(cls, aim: str, most: float, value: float | None) -> "Target":
        """Make a target that is met by ``most`` and less."""
        return cls(aim, value, None if value is None else value <= most)


class Result(msgspec.Struct, frozen=True):
    """The results of one scenario.

    ``headline`` names the measure of the ratios and the plot. ``missing``: contestants left out, with the reason.
    ``notes``: sentences that a reader of the numbers needs. ``failure``: why nothing was measured.
    """

    scenario: str
    about: str
    headline: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    targets: tuple[Target, ...]
    ratio_title: str = ""
    missing: dict[str, str] = {}
    failure: str = ""
    notes: tuple[str, ...] = ()

    @classmethod
    def failed(cls, scenario: str, why: str) -> "Result":
        """Make the result of a scenario that could not be measured."""
        return cls(scenario, "", "", (), (), (), failure=why)


def row_of(rows: Sequence[Row], case: str, who: str) -> Row | None:
    """Return the row of a contestant in a case, if it was measured."""
    return next((row for row in rows if (row.case, row.who) == (case, who)), None)


def ratio_to(rows: Sequence[Row], case: str, who: str) -> float | None:
    """Return the median ratio between our server and another contestant, if both were measured."""
    row = row_of(rows, case, who)
    return None if row is None or row.ratio is None else row.ratio.median


def cost_ratio(rows: Sequence[Row], case: str, who: str, measure: str) -> float | None:
    """Return the median ratio of our value of ``measure`` to another contestant's, if both were measured."""
    ours, other = row_of(rows, case, OURS), row_of(rows, case, who)
    if ours is None or other is None or not {measure} <= ours.values.keys() & other.values.keys():
        return None
    ratio = ours.values[measure].over(other.values[measure])
    return None if ratio is None else ratio.median


class Machine(msgspec.Struct, frozen=True):
    """The machine that a report is of."""

    processor: str
    cores: int
    system: str
    python: str


class BenchReport(msgspec.Struct, frozen=True):
    """A whole run. ``command``: repeats it. ``began``: date and time in ISO 8601."""

    version: str
    began: str
    command: str
    machine: Machine
    results: tuple[Result, ...]

    @property
    def all_met(self) -> bool:
        """True if no target was missed and no scenario failed."""
        return not self.failures and all(
            target.met is not False for result in self.results for target in result.targets
        )

    @property
    def failures(self) -> list[str]:
        """Scenarios that could not be measured, with the reason."""
        return [f"{result.scenario}: {result.failure}" for result in self.results if result.failure]
