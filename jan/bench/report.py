"""Results as people and programs read them: a table on the terminal, Markdown, JSON."""

from pathlib import Path

import msgspec

from jan.bench.results import BenchReport, Result, Row, Target

_MARK = "<!-- bench:{name} -->"
_END = "<!-- bench:end -->"


def as_text(result: Result) -> str:
    """Return a table for the terminal, with targets, notes and the contestants that were left out."""
    if result.failure:
        return f"{result.scenario}: could not be measured: {result.failure}\n"
    table = [_heading(result), *(_cells(result, row) for row in result.rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]
    lines[1:1] = ["-" * max(map(len, lines))]
    lines += [f"  {_verdict(target)}: {target.aim}{_measured(target)}" for target in result.targets]
    lines += [f"  {note}" for note in result.notes]
    lines += [f"  without {who}: {why}" for who, why in result.missing.items()]
    return "\n".join([f"{result.scenario}: {result.about}", "", *lines, ""])


def as_markdown(result: Result, report: BenchReport) -> str:
    """Return the same in Markdown, with the command that repeats it."""
    heading, *rows = [_heading(result), *(_cells(result, row) for row in result.rows)]
    lines = [f"`{report.command}`, {report.began[:10]}, {describe(report)}", ""]
    lines += [f"| {' | '.join(heading)} |", f"| --- | --- | {' | '.join('--:' for _ in heading[2:])} |"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    lines += ["", *(f"- {_verdict(target)}: {target.aim}{_measured(target)}" for target in result.targets)]
    lines += [f"- {note}" for note in result.notes]
    lines += [f"- without {who}: {why}" for who, why in result.missing.items()]
    return "\n".join(lines)


def describe(report: BenchReport) -> str:
    """Describe the machine in one line."""
    machine = report.machine
    return f"{machine.processor}, {machine.cores} cores, {machine.system}, Python {machine.python}"


def write_markdown(report: BenchReport, file: Path) -> None:
    """Write the tables into a document: between their marks, or at its end where it has none."""
    text = file.read_text(encoding="utf-8") if file.exists() else "# Measured\n"
    for result in (result for result in report.results if not result.failure):
        mark, table = _MARK.format(name=result.scenario), as_markdown(result, report)
        block = f"{mark}\n\n{table}\n\n{_END}"
        if mark in text:
            before, _, rest = text.partition(mark)
            text = before + block + rest.partition(_END)[2]
        else:
            text += f"\n## {result.scenario}\n\n{result.about}\n\n{block}\n"
    file.write_text(text, encoding="utf-8")


def write_json(report: BenchReport, file: Path) -> None:
    """Write the whole report, including the values of every round."""
    file.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")


def _heading(result: Result) -> list[str]:
    ratio = [result.ratio_title] if result.ratio_title else []
    return ["case", "server", *(column.title for column in result.columns), *ratio]


def _cells(result: Result, row: Row) -> list[str]:
    cells = [row.case, row.who]
    for column in result.columns:
        value = row.values.get(column.name)
        cells.append("" if value is None else column.text(value.median))
    if result.ratio_title:
        ratio = row.ratio
        cells.append("" if ratio is None else f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})")
    return cells


def _verdict(target: Target) -> str:
    return "not measured" if target.met is None else ("met" if target.met else "MISSED")


def _measured(target: Target) -> str:
    return "" if target.value is None else f" ({target.value:.3g})"
