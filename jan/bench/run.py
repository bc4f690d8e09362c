"""A whole run: the scenarios in turn, and what they were measured on."""

import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

from jan import __version__
from jan.bench.plan import Plan
from jan.bench.results import Machine, Report
from jan.bench.scenarios import scenario


def measure(names: Sequence[str], plan: Plan, command: str) -> Report:
    """Measure these scenarios, which there must be. Raises BenchError if our own server can't be measured."""
    began, results = datetime.now(UTC), []
    for name in names:
        since = time.monotonic()
        plan.say(f"=== {name}")
        results.append(scenario(name).run(plan))
        plan.say(f"=== {name}: {time.monotonic() - since:.0f} s")
    return Report(__version__, began.isoformat(timespec="seconds"), command, machine(), tuple(results))


def machine() -> Machine:
    """This one, without its name."""
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
