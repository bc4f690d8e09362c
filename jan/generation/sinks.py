"""Turns a run's events into an API's frames, and sends them to a client or a log.

A new API needs only its own ``Translator``.
"""

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import Any, Protocol

import msgspec

from jan.engine.base import Delta, Event, Finished, Queued, Started
from jan.engine.runtime.unread import UnreadEvents
from jan.generation.collected import CollectedAnswers
from jan.generation.token_count import TokenCount
from jan.http.sse import Frames, TextForm


class Translator(Protocol):
    """One answer in the form of an API. ``frames`` encodes the events that it makes."""

    def frames(self) -> Frames:
        """Make the encoder for the events of one stream."""
        ...

    def text_form(self, index: int) -> TextForm[Any] | None:
        """Return the form of events that have only new text of the sequence at ``index``; None if ``make`` makes
        them too. It holds until ``make`` is called."""
        ...

    def make(self, index: int, event: Started | Delta | Finished) -> Any | None:
        """Make an event, or a list of several, of any other event of the sequence at ``index``; None if there is
        nothing to send."""
        ...

    def last(self, count: TokenCount) -> Any | None:
        """Make the event that follows after all sequences have ended; None if the API has none."""
        ...

    def whole(self, answers: CollectedAnswers, count: TokenCount) -> msgspec.Struct:
        """Make the answer to a request that is not streamed."""
        ...


class FrameOutlet(Protocol):
    """The destination of frames: an ``Outlet`` to a client, or a log.

    A method returns a future that is done when everything was taken, or None if nothing has to be waited for.
    """

    def send(self, frames: Sequence[bytes], at: float) -> "asyncio.Future[None] | None":
        """Send some frames, delivered at ``at`` by ``perf_counter``."""
        ...

    def queued(self, comment: bytes, at: float) -> "asyncio.Future[None] | None":
        """Send a place in the queue as a comment."""
        ...

    def resume(self) -> None:
        """Note that everything was taken."""
        ...

    def end(self, frames: Sequence[bytes], last: bytes) -> "asyncio.Future[None] | None":
        """Send the last frames and the end of the stream."""
        ...


class FrameSink:
    """Sends events as frames, immediately while the client keeps up.

    Events for a client that is behind wait here, in bounded memory, until it has taken what was sent. The end is
    sent only on request.
    """

    __slots__ = (
        "_behind",
        "_end",
        "_error",
        "_form",
        "_forms",
        "_frames",
        "_index",
        "_outlet",
        "_rest",
        "_translator",
        "_unread",
    )

    def __init__(self, translator: Translator, frames: Frames, outlet: FrameOutlet) -> None:
        self._translator = translator
        self._frames = frames
        self._forms: dict[int, TextForm[Any] | None] = {}
        # The sequence of the latest events, and its form.
        self._index = -1
        self._form: TextForm[Any] | None = None
        self._outlet = outlet
        self._behind = False
        self._unread: dict[int, UnreadEvents] = {}
        # The frames that came together with the end, and the end itself. They are sent with the following frames.
        self._rest: list[bytes] = []
        self._end: tuple[int, Event] | None = None
        self._error: Exception | None = None

    def take(self, index: int, events: Sequence[Event], at: float, last: bool) -> None:
        """Send the events, or let them wait if the client is behind."""
        if not last and not self._behind and len(events) == 1 and self._error is None:
            # One token, and the client keeps up.
            event = events[0]
            form = self._form
            if (
                form is not None
                and index == self._index
                and isinstance(event, Delta)
                and event.text
                and not (event.parts or event.reasoning or event.tool_calls or event.logprobs or event.token_ids)
            ):
                taken = self._outlet.send((self._frames.text(form, event.text),), at)
                if taken is not None:
                    self._wait_for(taken)
                return
        if last:
            self._end, events = (index, events[-1]), events[:-1]
        if self._behind:
            unread = self._unread.setdefault(index, UnreadEvents())
            for event in events:
                unread.put(event)
        elif last:
            self._rest = self._translated(index, events)
        else:
            self._write(index, events, at)
        if self._error is not None:
            raise self._error

    def _write(self, index: int, events: Sequence[Event], at: float) -> None:
        frames = self._translated(index, events)
        end = events[-1]
        if frames:
            self._wait_for(self._outlet.send(frames, at))
        elif isinstance(end, Started):
            # The first frame may be long in coming. The client must know that it was accepted.
            self._wait_for(self._outlet.queued(self._frames.keep_alive, at))
        if isinstance(end, Queued):
            self._wait_for(self._outlet.queued(self._frames.queued(end), at))

    def _translated(self, index: int, events: Sequence[Event]) -> list[bytes]:
        """Translate events into frames. Consecutive pieces of text are translated together."""
        frames: list[bytes] = []
        texts: list[str] = []
        form = None
        for event in events:
            # A form is made after the start, which may say what it has.
            if isinstance(event, Delta) and event.text_only and (form := form or self._form_of(index)) is not None:
                if event.parts:
                    texts += [part.text for part in event.parts if part.text]
                elif event.text:
                    texts.append(event.text)
                continue
            if texts and form is not None:
                frames += self._frames.texts(form, texts)
                texts = []
            if isinstance(event, (Started, Delta, Finished)):
                made = self._translator.make(index, event)
                if made is not None:
                    frames += self._frames.each(made)
                # What was made may have changed what text means, such as by beginning or ending a part.
                self._forms.pop(index, None)
                self._form = form = None
        if texts and form is not None:
            frames += self._frames.texts(form, texts)
        return frames

    def _form_of(self, index: int) -> TextForm[Any] | None:
        if index not in self._forms:
            self._forms[index] = self._translator.text_form(index)
        self._index, self._form = index, self._forms[index]
        return self._form

    # --- a client that is behind --------------------------------------------------------------------

    def _wait_for(self, taken: "asyncio.Future[None] | None") -> None:
        if taken is not None and not self._behind:
            self._behind = True
            taken.add_done_callback(self._catch_up)

    def _catch_up(self, taken: "asyncio.Future[None]") -> None:
        """Send the events that came while the client was behind."""
        if not self._behind or taken.cancelled() or taken.exception() is not None:
            return  # sent already, or the client has disconnected, which its handler notices
        self._behind = False
        self._outlet.resume()
        try:
            self.flush()
        except Exception as error:  # noqa: BLE001 - raised by the next ``take``, or by ``finish``
            self._error = error

    def flush(self) -> None:
        """Send everything that waits, except the end."""
        frames = self._left()
        if frames:
            self._wait_for(self._outlet.send(frames, perf_counter()))

    def _left(self) -> list[bytes]:
        unread, self._unread = self._unread, {}
        frames = [frame for index, events in unread.items() for frame in self._translated(index, events.take())]
        rest, self._rest = self._rest, []
        return frames + rest

    async def settle(self) -> None:
        """Send what is made of the events apart from them, before ``finish``: nothing here."""

    async def close(self) -> None:
        """Stop making anything apart from the events. May be called again."""

    def finish(self, count: TokenCount) -> "asyncio.Future[None] | None":
        """Send everything that waits, and the end. Returns a future for when it was taken, or None if it has
        been."""
        if self._error is not None:
            raise self._error
        self._behind = False
        frames = self._left()
        if self._end is not None:
            frames += self._translated(self._end[0], [self._end[1]])
        last = self._translator.last(count)
        if last is not None:
            frames += self._frames.each(last)
        return self._outlet.end(frames, self._frames.last)
