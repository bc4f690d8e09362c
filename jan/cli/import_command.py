"""``jan import``: conversations of other applications, sent to a server or put into a store."""

import http.client
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import get_args
from urllib.parse import urlencode, urlsplit

import click
import msgspec

from jan.cli.chat import DEFAULT_URL
from jan.cli.imported_files import files_in
from jan.cli.store_context import StoreContext
from jan.cli.terminal import say
from jan.conversations import Conversations
from jan.errors import InvalidRequest, JanError, NotFound, Unavailable
from jan.importing.kinds import APPLICATIONS
from jan.importing.pieces import Piece, joined, pieces, without_media
from jan.people.assembly import People
from jan.schema.import_reports import ForeignKind, ImportReport, SkippedItem
from jan.schema.plain_text import printable
from jan.settings.secret_files import SecretEnvironment

# Conversations that are sent together have about as many bytes. A larger one is sent alone.
_SENT_BYTES = 512 * 1024
_LARGE = 64 * 1024
_SECONDS = 300.0
# A server that limits requests says when to come again.
_ATTEMPTS, _LONGEST_WAIT = 30, 120.0


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--from", "source", type=click.Choice(get_args(ForeignKind)), help="Application; default: any.")
@click.option("--url", default=DEFAULT_URL, show_default=True, help="The API's base URL.")
@click.option("--api-key", help="Token or API key; default: JAN_API_KEY.")
@click.option("--user", "email", help="Put them into the store for this user, without a server.")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="With --user: the configuration.")
@click.option("--data", help="With --user: the server's data folder.")
def import_command(
    files: tuple[Path, ...],
    source: ForeignKind | None,
    url: str,
    api_key: str | None,
    email: str | None,
    config: Path | None,
    data: str | None,
) -> None:
    """Import conversations of other applications from FILES: exports, archives of them, or folders.

    Each conversation is imported once, so a command that was interrupted can be run again.
    """
    if email is None and (config is not None or data is not None):
        raise click.UsageError("--config and --data need --user.")
    total, is_broken = ImportReport(), False
    try:
        if email is None:
            sender = _Sender(url, api_key or SecretEnvironment(os.environ).get("JAN_API_KEY"), source)
            _import_all(files, sender.send_all, total)
        else:
            context = StoreContext()
            context.config, context.data = config, data
            _import_all(files, lambda chunks: _store_all(context, email, source, chunks), total)
    except (JanError, OSError) as error:
        say(f"jan: {error}", err=True)
        is_broken = True
    _conclude(total)
    sys.exit(1 if is_broken or total.failed or total.error is not None else 0)


def _import_all(
    paths: Iterable[Path], import_file: Callable[[Iterator[bytes]], ImportReport], total: ImportReport
) -> None:
    """Import files until a quota ends that. What was left out is printed on standard error."""
    for file in files_in(paths):
        report = import_file(file.chunks)
        if sys.stderr.isatty():
            say(err=True)
        for one in report.skipped:
            say(f"{printable(file.name)}: {_shown(one)}", err=True)
        if report.unnamed:
            say(f"{printable(file.name)}: Left out: {report.unnamed} more.", err=True)
        _add(total, report)
        if report.error is not None:
            say(f"jan: {report.error.message}", err=True)
            return


def _shown(skipped: SkippedItem) -> str:
    own = f" ({printable(skipped.conversation_id)})" if skipped.conversation_id else ""
    where = f", message {printable(skipped.message_id)}" if skipped.message_id else ""
    return f"Left out: {printable(skipped.conversation)}{own}{where}: {printable(skipped.reason)}"


def _add(total: ImportReport, report: ImportReport) -> None:
    for name in ("total", "imported", "known", "failed", "untried", "unnamed"):
        setattr(total, name, getattr(total, name) + getattr(report, name))
    total.sources += [one for one in report.sources if one not in total.sources]
    total.skipped += report.skipped
    total.error = total.error or report.error


def _show_progress(report: ImportReport) -> None:
    if sys.stderr.isatty():
        say(f"{report.total} conversations read, {report.imported} new", err=True, nl=False, redraw=True)


def _conclude(total: ImportReport) -> None:
    names = ", ".join(one.name for one in APPLICATIONS if one.kind in total.sources)
    here = f"{total.imported + total.known} of {total.total} conversations are here"
    untried = f", {total.untried} were not tried" if total.untried else ""
    say(f"{here}{f', from {names}' if names else ''}: {total.imported} new, {total.failed} failed{untried}.")


# --- into a store ---------------------------------------------------------------------------------------


def _store_all(
    context: StoreContext, email: str, source: ForeignKind | None, chunks: Iterator[bytes]
) -> ImportReport:
    async def load(conversations: Conversations, people: People) -> ImportReport:
        user = await people.users.find_by_email(email)
        if user is None:
            raise NotFound(f"There is no user {email}. `jan user list` shows all.")
        return await conversations.foreign_import(user.id, source).run(chunks, progress=_show_progress)

    return context.run_with_conversations(load)


# --- to a server ----------------------------------------------------------------------------------------


class _Sender:
    """Sends the conversations of files to a server, several at a time."""

    def __init__(self, url: str, api_key: str | None, source: ForeignKind | None) -> None:
        self._parts = urlsplit(url.rstrip("/"))
        if self._parts.scheme not in ("http", "https") or not self._parts.hostname:
            raise InvalidRequest(f"{url} is not the URL of a server. Use one like {DEFAULT_URL}.")
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._source = source

    def send_all(self, chunks: Iterator[bytes]) -> ImportReport:
        """Send a file. Raises Unavailable, and InvalidRequest for what the server refuses."""
        report = ImportReport()
        for batch in _batches(joined(pieces(chunks))):
            if report.error is not None:
                report.total += len(batch)
                report.untried += len(batch)
            elif batch[0].fault:
                _add(report, _failed(batch[0], batch[0].fault))
            else:
                _add(report, self._send(batch))
            _show_progress(report)
        return report

    def _send(self, batch: list[Piece]) -> ImportReport:
        query = {"first": batch[0].number, **({"source": self._source} if self._source else {})}
        path = f"{self._parts.path}/imports?{urlencode(query)}"
        body = b"[%b]" % b",".join(piece.data for piece in batch)
        for _ in range(_ATTEMPTS):
            status, answer, wait = self._post(path, body)
            if status == 200:
                return msgspec.json.decode(answer, type=ImportReport)
            if status == 413 and len(batch) == 1:
                return _failed(batch[0], f"It has {len(body)} bytes, more than the server takes in a request.")
            if status not in (429, 503) or wait > _LONGEST_WAIT:
                break
            time.sleep(wait)
        if status == 404:
            message = (
                f"There is no API that imports at {self._parts.geturl()}. Its base URL ends in /api/v1 as a rule."
            )
            raise InvalidRequest(message)
        raise InvalidRequest(_reason(status, answer))

    def _post(self, path: str, body: bytes) -> tuple[int, bytes, float]:
        """Return status and body of the answer, and the seconds after which to ask again."""
        is_tls = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
        host = self._parts.hostname or ""
        with closing(kind(host, self._parts.port, timeout=_SECONDS)) as connection:
            try:
                connection.request("POST", path, body, self._headers)
                response = connection.getresponse()
                waits = response.headers.get("Retry-After", "1")
                return response.status, response.read(), float(waits) if waits.isdigit() else 1.0
            except (OSError, http.client.HTTPException) as error:
                what = error or type(error).__name__
                raise Unavailable(
                    f"No answer of {host} ({what}). What was imported stays. Run the command again."
                ) from error


def _batches(found: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Yield pieces that follow each other in a file and are sent together. One with a fault is alone."""
    batch: list[Piece] = []
    size = 0
    for piece in found:
        data = without_media(piece.data) if len(piece.data) > _LARGE else piece.data
        if batch and (piece.fault or size + len(data) > _SENT_BYTES):
            yield batch
            batch, size = [], 0
        if piece.fault:
            yield [piece]
            continue
        batch.append(Piece(number=piece.number, data=data))
        size += len(data)
    if batch:
        yield batch


def _failed(piece: Piece, reason: str) -> ImportReport:
    skipped = SkippedItem(conversation=f"conversation {piece.number} of the file", reason=reason)
    return ImportReport(total=1, failed=1, skipped=[skipped])


class _Reason(msgspec.Struct):
    message: str


class _Refusal(msgspec.Struct):
    error: _Reason


def _reason(status: int, answer: bytes) -> str:
    try:
        return msgspec.json.decode(answer, type=_Refusal).error.message
    except msgspec.DecodeError:
        return f"The server answered with the status {status}."
