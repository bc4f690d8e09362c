"""Totals of an import: counted on one line of a terminal, and told at the end."""

from jan.cli.chat.answer_screen import StatusLine
from jan.cli.terminal import say
from jan.importing.kinds import APPLICATIONS
from jan.schema.import_reports import ImportReport, SkippedItem
from jan.schema.plain_text import printable

_COUNTS = ("total", "imported", "known", "failed", "untried", "unnamed")


class ImportTotals:
    """Counts the conversations of several files."""

    def __init__(self) -> None:
        self._total = ImportReport()
        self._line = StatusLine()

    @property
    def is_complete(self) -> bool:
        """True if every conversation that was read is on the server or in the store."""
        return not self._total.failed and self._total.error is None

    @property
    def has_some(self) -> bool:
        """True if a conversation is on the server or in the store."""
        return self._total.imported + self._total.known > 0

    def show(self, report: ImportReport) -> None:
        """Show the counts with those of a file that is being read."""
        total, new, known, failed = (
            getattr(self._total, name) + getattr(report, name) for name in ("total", "imported", "known", "failed")
        )
        spoilt = f", {failed} failed" if failed else ""
        self._line.show(f"{total} conversations read: {new} new, {known} known{spoilt}")

    def add(self, name: str, report: ImportReport) -> None:
        """Add the counts of a file. What was left out of it is printed on standard error."""
        self._line.clear()
        for one in report.skipped:
            say(f"{printable(name)}: {_shown(one)}", err=True)
        if report.unnamed:
            say(f"{printable(name)}: Left out: {report.unnamed} more.", err=True)
        if report.error is not None:
            say(f"jan: {report.error.message}", err=True)
        merge(self._total, report)
        self._total.skipped.clear()

    def conclude(self) -> None:
        """Print the counts of all files."""
        total = self._total
        names = ", ".join(one.name for one in APPLICATIONS if one.kind in total.sources)
        here = f"{total.imported + total.known} of {total.total} conversations are here"
        untried = f", {total.untried} were not tried" if total.untried else ""
        say(f"{here}{f', from {names}' if names else ''}: {total.imported} new, {total.failed} failed{untried}.")


def merge(total: ImportReport, report: ImportReport) -> None:
    """Add a report to another one."""
    for name in _COUNTS:
        setattr(total, name, getattr(total, name) + getattr(report, name))
    total.sources += [one for one in report.sources if one not in total.sources]
    total.skipped += report.skipped
    total.error = total.error or report.error


def _shown(skipped: SkippedItem) -> str:
    own = f" ({printable(skipped.conversation_id)})" if skipped.conversation_id else ""
    where = f", message {printable(skipped.message_id)}" if skipped.message_id else ""
    return f"Left out: {printable(skipped.conversation)}{own}{where}: {printable(skipped.reason)}"
