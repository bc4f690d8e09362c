"""A picture of the results: each scenario's headline measure, for every server and case."""

from pathlib import Path
from typing import Any

from jan.bench.results import BenchReport, Result

_INCHES = (8.0, 3.6)
_BAR_SHARE = 0.8


def write_plot(report: BenchReport, file: Path) -> None:
    """Write a PNG, if anything was measured."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    results = [result for result in report.results if not result.failure]
    if not results:
        return
    width, height = _INCHES
    figure, places = pyplot.subplots(
        len(results), 1, figsize=(width, height * len(results)), squeeze=False, layout="constrained"
    )
    for result, place in zip(results, places[:, 0], strict=True):
        _draw(result, place)
    figure.savefig(file, format="png", dpi=120)
    pyplot.close(figure)


def _draw(result: Result, place: Any) -> None:
    """Draw bars, a group for each case, with lines from the least to the greatest of the rounds."""
    cases = list(dict.fromkeys(row.case for row in result.rows))
    names = list(dict.fromkeys(row.who for row in result.rows))
    column = next(column for column in result.columns if column.name == result.headline)
    width = _BAR_SHARE / max(1, len(names))
    for number, name in enumerate(names):
        rows = [row for row in result.rows if row.who == name and result.headline in row.values]
        spreads = [row.values[result.headline] for row in rows]
        middle = [spread.median * column.scale for spread in spreads]
        below = [(spread.median - spread.low) * column.scale for spread in spreads]
        above = [(spread.high - spread.median) * column.scale for spread in spreads]
        at = [cases.index(row.case) + (number - (len(names) - 1) / 2) * width for row in rows]
        place.bar(at, middle, width, label=name, yerr=(below, above), capsize=2)
    place.set_xticks(range(len(cases)), cases)
    place.set_ylabel(column.title)
    place.set_title(result.scenario)
    place.legend(fontsize="small")
