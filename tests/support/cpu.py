"""CPU seconds by test file, with those of every process that a test started: ``pytest --cpu``."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat after the program's name: utime, stime, cutime and cstime.
_TIMES = slice(11, 15)


class CpuReport:
    """Sum the CPU seconds of each test file over all workers, and print them at the end.

    A server that several files share counts for the file whose tests ran while it worked.
    """

    def __init__(self) -> None:
        self._spent: Counter[str] = Counter()
        self._before = 0.0
        self._collecting = 0.0

    def pytest_collection_finish(self) -> None:
        """Tell imports apart from the first test."""
        self._collecting = self._before = family_seconds()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> Iterator[None]:
        """Hand over what a test took with its last report, which travels to the controlling process."""
        report = yield
        if call.when != "teardown":
            return report
        now = family_seconds()
        report.cpu_seconds, report.cpu_collecting = now - self._before, self._collecting
        self._before, self._collecting = now, 0.0
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add what a worker measured."""
        spent = vars(report)
        self._spent[report.nodeid.partition("::")[0]] += spent.get("cpu_seconds", 0.0)
        self._spent["(imports and collection)"] += spent.get("cpu_collecting", 0.0)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the files, the dearest first."""
        terminalreporter.section("CPU seconds by file, with the processes that it started")
        for name, seconds in self._spent.most_common():
            terminalreporter.write_line(f"{seconds:8.2f} {name}")
        terminalreporter.write_line(f"{self._spent.total():8.2f} in all")


def family_seconds() -> float:
    """CPU seconds of this process, of its descendants, and of the children that any of them waited for."""
    return sum(map(_ticks, _family(os.getpid()))) / _TICKS_PER_SECOND


def _family(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found = children.read_text().split()
        except OSError:
            continue  # the thread ended meanwhile
        for child in found:
            yield from _family(int(child))


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0  # it ended meanwhile, and counts for its parent
    return sum(map(int, fields[_TIMES]))
