"""Sends conversations of other applications to a server, several at a time."""

import time
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import urlencode

import msgspec

from jan.cli.chat.chat_connection import ChatConnection
from jan.cli.chat.chat_failures import ChatError
from jan.cli.import_totals import merge
from jan.importing.pieces import Piece, joined, pieces, without_media
from jan.schema.import_reports import ForeignKind, ImportReport, SkippedItem

# Conversations that are sent together have about as many bytes. A larger one is sent alone.
_SENT_BYTES = 512 * 1024
_LARGE = 64 * 1024
# A server that limits requests says when to come again.
_ATTEMPTS, _LONGEST_WAIT = 30, 120.0
_BUSY = (429, 503)


class ImportSender:
    """Sends the conversations of files. ``source`` None: those of any application."""

    def __init__(self, connection: ChatConnection, source: ForeignKind | None) -> None:
        self._connection = connection
        self._source = source

    def send_all(
        self, chunks: Iterable[bytes], report: ImportReport, progress: Callable[[ImportReport], None]
    ) -> None:
        """Send a file, and add what became of it to a report. Raises ChatError; what was sent before is in the
        report."""
        for batch in _batches(joined(pieces(chunks))):
            if report.error is not None:
                merge(report, ImportReport(total=len(batch), untried=len(batch)))
            elif batch[0].fault:
                merge(report, _failed(batch[0], batch[0].fault))
            else:
                self._send(batch, report)
            progress(report)

    def _send(self, batch: list[Piece], report: ImportReport) -> None:
        """Send conversations together, or in halves if they are too large for the server."""
        body = b"[%b]" % b",".join(piece.data for piece in batch)
        try:
            merge(report, self._answer(batch[0].number, body))
            return
        except ChatError as error:
            if error.status != 413:
                raise
        middle = len(batch) // 2
        if middle:
            self._send(batch[:middle], report)
            self._send(batch[middle:], report)
        else:
            reason = f"It has {len(body)} bytes, more than the server takes in a request."
            merge(report, _failed(batch[0], reason))

    def _answer(self, first: int, body: bytes) -> ImportReport:
        """Return the server's report on conversations, of which the first has this number. Waits while the server
        is busy."""
        query = {"first": first, **({"source": self._source} if self._source else {})}
        path = f"/imports?{urlencode(query)}"
        attempts = 1
        while True:
            try:
                return self._connection.fetch(ImportReport, "POST", path, msgspec.Raw(body))
            except ChatError as error:
                wait = 1.0 if error.retry_after is None else error.retry_after
                if error.status not in _BUSY or wait > _LONGEST_WAIT or attempts == _ATTEMPTS:
                    raise
            attempts += 1
            time.sleep(wait)


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
