"""An answer that the server makes in the background: a connection that breaks is made anew, and the answer goes on
where it was."""

import time
from collections.abc import Iterator
from contextlib import suppress

from jan.cli.chat.answer_reader import AnswerPart, without_oldest
from jan.cli.chat.chat_connection import ChatConnection
from jan.cli.chat.chat_failures import ChatError
from jan.cli.chat.response_reader import ResponseReader

# Seconds between attempts; after the last one the chat gives up.
_WAITS = (0.5, 1, 2, 4, *[8] * 8)
# The server sends a comment every few seconds.
_SILENCE_SECONDS = 60.0
_PASSING = ("connection_lost", "cut_off", "no_server", "no_answer", "unknown_host")
_BUSY = (502, 503, 504)
_RESUMED_NOTE = "(The connection broke. Trying to go on ...)"


class ResumedAnswer:
    """The answer to one request for a response. ``question_id``: the id that the stored question gets.

    Only what is made in the background can be resumed. Elsewhere a connection that breaks ends the answer.
    """

    def __init__(self, connection: ChatConnection, body: dict[str, object], question_id: str = "") -> None:
        self._connection = connection
        self._body = {**body, "stream": True}
        self._lasts = body.get("background") is True
        self._reader = ResponseReader(question_id)

    def parts(self) -> Iterator[AnswerPart]:
        """Yield the parts of the answer. Closing the generator stops it at the server. Raises ChatError."""
        try:
            yield from self._begun()
            failures = 0
            while not self._reader.ended:
                before = self._reader.last
                try:
                    yield from self._gone_on()
                except ChatError as error:
                    failures = 1 if self._reader.last > before else failures + 1
                    self._check_passing(error, failures)
                    time.sleep(_WAITS[failures - 1])
        except (GeneratorExit, KeyboardInterrupt):
            self._cancel()
            raise

    def _begun(self) -> Iterator[AnswerPart]:
        try:
            with self._connection.open("POST", "/responses", self._body, silence=_SILENCE_SECONDS) as response:
                if left_out := response.headers.get("X-Jan-Left-Out"):
                    yield AnswerPart(note=without_oldest(len(left_out.split(","))))
                yield from self._reader.read(response)
        except ChatError as error:
            if not self._reader.id or not self._lasts:
                raise
            self._check_passing(error, 0)
            yield AnswerPart(note=_RESUMED_NOTE)

    def _gone_on(self) -> Iterator[AnswerPart]:
        path = f"/responses/{self._reader.id}?stream=true&starting_after={self._reader.last}"
        with self._connection.open("GET", path, silence=_SILENCE_SECONDS) as response:
            yield from self._reader.read(response)

    def _check_passing(self, error: ChatError, failures: int) -> None:
        """Raise an error that does not pass, or that has lasted too long."""
        if error.kind not in _PASSING and error.status not in _BUSY:
            raise error
        if failures > len(_WAITS):
            hint = "The server may still finish the answer: `--continue` shows it."
            raise ChatError(error.reason, hint, kind=error.kind, status=error.status) from error

    def _cancel(self) -> None:
        if self._reader.id and self._lasts and not self._reader.ended:
            with suppress(ChatError), self._connection.open("POST", f"/responses/{self._reader.id}/cancel", {}):
                pass
