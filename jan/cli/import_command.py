"""``jan import``: conversations of other applications, sent to a server or put into a store."""

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import click

from jan.cli.chat.chat_failures import ChatError
from jan.cli.chat.connection_options import ConnectionOptions, connection_options
from jan.cli.import_sender import ImportSender
from jan.cli.import_totals import ImportTotals, merge
from jan.cli.imported_files import files_in
from jan.cli.store_context import StoreContext
from jan.cli.terminal import say
from jan.conversations import Conversations
from jan.errors import JanError, NotFound
from jan.people.assembly import People
from jan.schema.import_reports import ForeignKind, ImportReport

_EXIT_INTERRUPTED = 130

# Imports a file, and adds what became of it to a report.
_Import = Callable[[Iterator[bytes], ImportReport], None]


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--from", "source", type=click.Choice(get_args(ForeignKind)), help="Application; default: any.")
@connection_options
@click.option("--user", "email", help="Put them into the store for this user, without a server.")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="With --user: the configuration.")
@click.option("--data", help="With --user: the server's data folder.")
def import_command(
    files: tuple[Path, ...],
    source: ForeignKind | None,
    email: str | None,
    config: Path | None,
    data: str | None,
    **server: Any,
) -> None:
    """Import conversations of other applications from FILES: exports, archives of them, or folders.

    Each conversation is imported once, so a command that was interrupted can be run again.
    """
    if email is None and (config is not None or data is not None):
        raise click.UsageError("--config and --data need --user.")
    totals, code = ImportTotals(), 0
    try:
        if email is None:
            sender = ImportSender(ConnectionOptions(**server).connection("jan-import"), source)
            _import_all(files, lambda chunks, report: sender.send_all(chunks, report, totals.show), totals)
        else:
            context = StoreContext()
            context.config, context.data = config, data
            into_store = _StoreImport(context, email, source, totals)
            _import_all(files, into_store.add_all, totals)
    except ChatError as error:
        say(error.line(), err=True)
        code = 1
    except (JanError, OSError) as error:
        say(f"jan: {error}", err=True)
        code = 1
    except KeyboardInterrupt:
        code = _EXIT_INTERRUPTED
    totals.conclude()
    if code and totals.has_some:
        say("What is here stays. Run the command again to go on.", err=True)
    sys.exit(code or (0 if totals.is_complete else 1))


def _import_all(paths: Iterable[Path], import_file: _Import, totals: ImportTotals) -> None:
    """Import files until a quota ends that."""
    for file in files_in(paths):
        report = ImportReport()
        try:
            import_file(file.chunks, report)
        finally:
            totals.add(file.name, report)
        if report.error is not None:
            return


class _StoreImport:
    """Imports files into a store, without a server."""

    def __init__(
        self, context: StoreContext, email: str, source: ForeignKind | None, totals: ImportTotals
    ) -> None:
        self._context = context
        self._email = email
        self._source = source
        self._totals = totals

    def add_all(self, chunks: Iterator[bytes], report: ImportReport) -> None:
        """Import a file. Raises NotFound if there is no such user, and Unavailable."""

        async def load(conversations: Conversations, people: People) -> None:
            user = await people.users.find_by_email(self._email)
            if user is None:
                raise NotFound(f"There is no user {self._email}. `jan user list` shows all.")
            run = conversations.foreign_import(user.id, self._source)
            try:
                await run.run(chunks, progress=self._totals.show)
            finally:
                merge(report, run.report)

        self._context.run_with_conversations(load)
