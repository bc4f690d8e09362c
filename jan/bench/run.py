"""A whole run: the scenarios in turn, and the machine they were measured on."""

import platform
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

from jan import __version__
from jan.bench.bench_error import BenchError
from jan.bench.plan import Plan
from jan.bench.processes import allow_many_connections
from jan.bench.results import BenchReport, Machine, Result
from jan.bench.scenarios import scenario


def measure(names: Sequence[str], plan: Plan, command: str, show: Callable[[Result], None]) -> BenchReport:
    """Measure the named scenarios, which must exist, and pass each result to ``show`` as soon as it is there.

    A scenario in which our own server cannot be measured has a failure as its result.
    """
    began, results = datetime.now(UTC), []
    allow_many_connections()
    for name in names:
        since = time.monotonic()
        plan.say(f"=== {name}")
        try:
            result = scenario(name).run(plan)
        except BenchError as error:
            result = Result.failed(name, error.message)
        plan.say(f"=== {name}: {time.monotonic() - since:.0f} s")
        show(result)
        results.append(result)
    return BenchReport(__version__, began.isoformat(timespec="seconds"), command, machine(), tuple(results))


def machine() -> Machine:
    """Describe this machine, without its name."""
    return Machine(
        processor=_processor(),
        cores=psutil.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
        python=".".join(map(str, sys.version_info[:3])),
    )


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.partition(": ")[2] for line in text.splitlines() if line.startswith("model name")), "unknown"
    )
