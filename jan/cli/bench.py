"""``jan bench``: measures this server, the limit of the machine, and other servers."""

import shlex
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

from jan.cli.terminal import say

if TYPE_CHECKING:
    from jan.bench.plan import Plan
    from jan.bench.results import BenchReport

_EXIT_FAILED = 1
_EXIT_MISSED = 3
_file = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("scenarios", nargs=-1)
@click.option(
    "--rounds", type=click.IntRange(1, 100), default=5, show_default=True, help="Rounds that are counted."
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.01, 600),
    default=1.0,
    show_default=True,
    help="About how long our server is measured at a time.",
)
@click.option("--case", "cases", multiple=True, help="Only this case, such as '64 streams'; may be repeated.")
@click.option("--peers/--no-peers", default=True, help="Beside other servers; the first time they are installed.")
@click.option(
    "--peer",
    "chosen_peers",
    multiple=True,
    help="Only the other servers whose names begin so, such as 'FastAPI'; may be repeated.",
)
@click.option(
    "--api",
    "apis",
    multiple=True,
    type=click.Choice(("chat", "responses", "messages", "ollama")),
    help="Compare streams over this API of this server with chat completions (stream); may be repeated.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder with another checkout of Jan Server, such as a git worktree of the commit before: its server "
    "is measured beside this one (stream, overhead).",
)
@click.option("--quick", is_flag=True, help="See that all works: one round of nearly nothing, without peers.")
@click.option("--check", is_flag=True, help=f"Exit code {_EXIT_MISSED} if a target is missed.")
@click.option("--json", "json_file", type=_file, help="Write all results, every round's too.")
@click.option(
    "--markdown", "markdown_file", type=_file, help="Write the tables, between the marks that are there."
)
@click.option("--plot", "plot_file", type=_file, help="Write a picture, PNG.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="JAN_BENCH_CACHE",
    default=Path(".cache/bench"),
    show_default=True,
    help="Where peers are installed.",
)
def bench(
    scenarios: tuple[str, ...],
    rounds: int,
    seconds: float,
    cases: tuple[str, ...],
    peers: bool,
    chosen_peers: tuple[str, ...],
    apis: tuple[str, ...],
    against: Path | None,
    quick: bool,
    check: bool,
    json_file: Path | None,
    markdown_file: Path | None,
    plot_file: Path | None,
    cache: Path,
) -> None:
    """Measure this server, in SCENARIOS by name or in all of them, beside the limit and beside other servers.

    Everything is started and stopped here, on loopback. Medians of alternating rounds are shown, and ratios within
    a round with their spread: other things that the machine does are in all of them.
    """
    names = _known(scenarios)
    if apis and (names != ["stream"] or chosen_peers or against):
        raise click.UsageError("--api is for 'stream' alone, and compares with no --peer and no --against.")
    with tempfile.TemporaryDirectory(prefix="jan-bench-") as folder:
        from jan.bench.plan import Plan

        plan = Plan(
            folder=Path(folder),
            cache=cache,
            say=lambda line: say(line, err=True),
            rounds=1 if quick else rounds,
            seconds=seconds,
            quick=quick,
            peers=peers and not quick,
            chosen_peers=chosen_peers,
            against=against,
            cases=cases,
            apis=apis,
        )
        report = _measure(names, plan, _command(scenarios, plan, rounds=rounds, peers=peers))
    _write(report, json_file, markdown_file, plot_file)
    if report.failures:
        _fail("; ".join(report.failures))
    if check and not report.all_met:
        sys.exit(_EXIT_MISSED)


def _known(names: Sequence[str]) -> list[str]:
    """Return the requested scenarios, or all."""
    from jan.bench.scenarios import SCENARIOS

    for name in names:
        if name not in SCENARIOS:
            raise click.UsageError(f"There is no scenario '{name}'; available: {', '.join(SCENARIOS)}.")
    return list(dict.fromkeys(names)) or list(SCENARIOS)


def _command(scenarios: Sequence[str], plan: "Plan", *, rounds: int, peers: bool) -> str:
    """Return a command that repeats this measurement, regardless of where results and the other checkout are."""
    options = [*scenarios, "--rounds", str(rounds), "--seconds", f"{plan.seconds:g}"]
    for case in plan.cases:
        options += ["--case", case]
    for peer in plan.chosen_peers:
        options += ["--peer", peer]
    for api in plan.apis:
        options += ["--api", api]
    if plan.against is not None:
        options += ["--against", plan.against.resolve().name]
    flags = [*([] if peers else ["--no-peers"]), *(["--quick"] if plan.quick else [])]
    return shlex.join(["tools/bench", *options, *flags])


def _measure(names: Sequence[str], plan: "Plan", command: str) -> "BenchReport":
    """Measure, and show each result as it arrives. All started processes are stopped in any case."""
    try:
        from jan.bench.report import as_text
        from jan.bench.run import measure
    except ModuleNotFoundError as error:
        _fail(f"The package '{error.name}' is missing: pip install 'jan-server[bench]'.")
    signal.signal(signal.SIGTERM, _stop)
    return measure(names, plan, command, lambda result: say(as_text(result)))


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """End the blocks that hold servers, like Ctrl-C does."""
    sys.exit(128 + number)


def _write(
    report: "BenchReport", json_file: Path | None, markdown_file: Path | None, plot_file: Path | None
) -> None:
    from jan.bench.plot import write_plot
    from jan.bench.report import describe, write_json, write_markdown

    say(describe(report))
    if json_file is not None:
        write_json(report, json_file)
    if markdown_file is not None:
        write_markdown(report, markdown_file)
    if plot_file is not None:
        write_plot(report, plot_file)


def _fail(message: str) -> NoReturn:
    say(f"jan bench: {message}", err=True)
    sys.exit(_EXIT_FAILED)
