"""The answers that this process makes, as far as they are stored, for those who follow them."""

import asyncio

from jan.engine.base import Queued
from jan.errors import Unavailable
from jan.storage.records import MessageRecord


class LiveAnswer:
    """One answer: its message as it was stored last, and its place in the queue of its model."""

    def __init__(self, message: MessageRecord) -> None:
        self._latest = message
        self._changed = asyncio.Event()
        self._left = False
        #: The last place in the queue; None before there was one.
        self.place: Queued | None = None

    def show(self, message: MessageRecord) -> None:
        """Show a message that was stored to all who wait."""
        self._latest = message
        self._wake()

    def wait(self, place: Queued) -> None:
        """Show a place in the queue. It is not stored."""
        self.place = place
        self._wake()

    def leave(self) -> None:
        """Note that this process does not make the answer any more."""
        self._left = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def after(self, known: MessageRecord, place: Queued | None) -> MessageRecord | Queued | None:
        """Wait for a message that is newer than a known one, or for a newer place in the queue.

        None: this process makes neither.
        """
        while self._latest == known and self.place is place and not self._left:
            await self._changed.wait()
        if self._latest != known:
            return self._latest
        return None if self._left else self.place


class LiveAnswers:
    """All answers that this process makes."""

    def __init__(self) -> None:
        self._live: dict[str, LiveAnswer] = {}
        #: True once the server stops.
        self.closed = False

    def __len__(self) -> int:
        return len(self._live)

    def check_open(self) -> None:
        """Raise Unavailable if the server stops."""
        if self.closed:
            raise Unavailable("The server is shutting down. Try again later.", code="shutting_down")

    def close(self) -> None:
        """Note that the server stops, and tell all who wait for news."""
        self.closed = True
        for live in self._live.values():
            live.leave()

    def find(self, answer_id: str) -> LiveAnswer | None:
        """Return an answer that this process makes, or None."""
        return self._live.get(answer_id)

    def begin(self, message: MessageRecord) -> LiveAnswer:
        """Add an answer whose making begins."""
        live = self._live[message.id] = LiveAnswer(message)
        return live

    def end(self, answer_id: str) -> None:
        """Take out an answer. Whoever waits for news of it looks into the store."""
        live = self._live.pop(answer_id, None)
        if live is not None:
            live.leave()
