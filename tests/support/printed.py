"""Lines that tests have to say at the end of a run: ``record_property("printed", line)``."""

import pytest


class Printed:
    """Prints what tests recorded, of all workers together."""

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the lines in the order of the tests' names."""
        reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
        lines = [
            (report.nodeid, str(value))
            for report in reports
            if report.when == "call"
            for key, value in report.user_properties
            if key == "printed"
        ]
        if lines:
            terminalreporter.section("what tests counted")
        for _, line in sorted(lines):
            terminalreporter.write_line(line)
