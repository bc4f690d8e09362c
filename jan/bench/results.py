"""What a run found out: medians of rounds, ratios within a round, targets met and missed."""

from collections.abc import Sequence
from statistics import median

import msgspec

#: The name of our own server among the contestants.
OURS = "jan"


class Spread(msgspec.Struct, frozen=True):
    """The median of some samples, the least and the greatest of them, and all of them in order."""

    median: float
    low: float
    high: float
    samples: tuple[float, ...]

    @classmethod
    def of(cls, samples: Sequence[float]) -> "Spread":
        """Of at least one sample."""
        return cls(median(samples), min(samples), max(samples), tuple(samples))

    def over(self, other: "Spread") -> "Spread | None":
        """The ratios of what was measured in the same round; None if the other is nothing at all."""
        if not all(other.samples):
            return None
        return Spread.of([mine / theirs for mine, theirs in zip(self.samples, other.samples, strict=True)])


def percentile(samples: Sequence[float], part: float) -> float:
    """The sample that this part of all are no greater than; 0 of none."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


class Column(msgspec.Struct, frozen=True):
    """A measure: its name among a row's values, and how people read it: times ``scale``, for seconds are kept and
    milliseconds shown."""

    name: str
    title: str
    digits: int = 0
    scale: float = 1.0

    def text(self, value: float) -> str:
        """As people read it."""
        return f"{value * self.scale:,.{self.digits}f}"


class Row(msgspec.Struct, frozen=True):
    """One contestant in one case. ``ratio``: within a round, in the scenario's headline measure; its title says
    of what by what."""

    case: str
    who: str
    values: dict[str, Spread]
    ratio: Spread | None = None


class Target(msgspec.Struct, frozen=True):
    """What was aimed at. ``value`` is None if it could not be measured in this run."""

    aim: str
    value: float | None
    met: bool | None

    @classmethod
    def at_least(cls, aim: str, least: float, value: float | None) -> "Target":
        """Met by that much and more."""
        return cls(aim, value, None if value is None else value >= least)

    @classmethod
    def at_most(cls, aim: str, most: float, value: float | None) -> "Target":
        """Met by that much and less."""
        return cls(aim, value, None if value is None else value <= most)


class Result(msgspec.Struct, frozen=True):
    """A scenario's outcome. ``headline`` names the column that ratios and plot are of; ``missing``: why
    contestants were left out; ``notes``: what a reader must know of the numbers; ``failure``: why there is
    nothing."""

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
        """Nothing was found out."""
        return cls(scenario, "", "", (), (), (), failure=why)


def row_of(rows: Sequence[Row], case: str, who: str) -> Row | None:
    """A row, if it was measured."""
    return next((row for row in rows if (row.case, row.who) == (case, who)), None)


def ratio_to(rows: Sequence[Row], case: str, who: str) -> float | None:
    """The median ratio of ours to somebody's, if it was measured."""
    row = row_of(rows, case, who)
    return None if row is None or row.ratio is None else row.ratio.median


def cost_ratio(rows: Sequence[Row], case: str, who: str, measure: str) -> float | None:
    """The median of the rounds' ratios of our value of a measure to somebody's, if both were measured."""
    ours, other = row_of(rows, case, OURS), row_of(rows, case, who)
    if ours is None or other is None or not {measure} <= ours.values.keys() & other.values.keys():
        return None
    ratio = ours.values[measure].over(other.values[measure])
    return None if ratio is None else ratio.median


class Machine(msgspec.Struct, frozen=True):
    """What it was measured on."""

    processor: str
    cores: int
    system: str
    python: str


class Report(msgspec.Struct, frozen=True):
    """All of a run. ``command``: the arguments that repeat it; ``began``: when, in ISO 8601."""

    version: str
    began: str
    command: str
    machine: Machine
    results: tuple[Result, ...]

    @property
    def all_met(self) -> bool:
        """Whether no target was missed."""
        return not self.failures and all(
            target.met is not False for result in self.results for target in result.targets
        )

    @property
    def failures(self) -> list[str]:
        """Why scenarios came to nothing."""
        return [f"{result.scenario}: {result.failure}" for result in self.results if result.failure]
