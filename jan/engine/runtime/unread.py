"""Events that wait for a slow reader, in order and bounded."""

import msgspec

from jan.engine.generation_events import Delta, Event, Queued

# At most this many of the newest unread deltas are kept separate; older ones are merged, this many into one.
_SEPARATE = 1024


class Backlog:
    """Deltas in a row that were not read yet. They stay separate, so that a reader gets every token as the piece
    that it was; of very many, older ones are merged."""

    def __init__(self, first: Delta) -> None:
        self._merged: list[Delta] = []
        self._separate = [first]

    def add(self, delta: Delta) -> None:
        """Add a later one."""
        self._separate.append(delta)
        if len(self._separate) == _SEPARATE:
            self._merged.append(Delta.sum(self._separate))
            self._separate.clear()

    def whole(self) -> Delta:
        """Return all of them as one, with its parts."""
        parts = (*self._merged, *self._separate)
        return msgspec.structs.replace(Delta.sum(parts), parts=parts)


class UnreadEvents:
    """What came of a request since its reader last looked: several deltas in a row are one with parts, and of
    several places in the queue only the newest is kept."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        # What comes after the events, once two deltas in a row were not read.
        self._backlog: Backlog | None = None

    def __bool__(self) -> bool:
        return bool(self._events) or self._backlog is not None

    def put(self, event: Event) -> None:
        """Add an event."""
        if isinstance(event, Delta):
            self._put_delta(event)
            return
        self._end_backlog()
        if isinstance(event, Queued) and self._events and isinstance(self._events[-1], Queued):
            self._events[-1] = event
        else:
            self._events.append(event)

    def _put_delta(self, delta: Delta) -> None:
        if self._backlog is not None:
            self._backlog.add(delta)
        elif self._events and isinstance(last := self._events[-1], Delta):
            del self._events[-1]
            self._backlog = Backlog(last)
            self._backlog.add(delta)
        else:
            self._events.append(delta)

    def _end_backlog(self) -> None:
        if self._backlog is not None:
            self._events.append(self._backlog.whole())
            self._backlog = None

    def take(self) -> list[Event]:
        """Take everything."""
        self._end_backlog()
        events, self._events = self._events, []
        return events
