"""Events that a slow reader has not read yet, in order and bounded."""

import msgspec

from jan.engine.generation_events import Delta, Event, Queued

# At most this many of the newest unread deltas are kept separate; older ones are merged, this many into one.
_SEPARATE = 1024


class Backlog:
    """Consecutive deltas that were not read yet.

    They are kept separate, so that a reader gets each token as its own part. If there are very many, older ones
    are merged.
    """

    def __init__(self, first: Delta) -> None:
        self._merged: list[Delta] = []
        self._separate = [first]

    def add(self, delta: Delta) -> None:
        """Add a later delta to the backlog."""
        self._separate.append(delta)
        if len(self._separate) == _SEPARATE:
            self._merged.append(Delta.sum(self._separate))
            self._separate.clear()

    def merged(self) -> Delta:
        """Return all deltas merged into one, with ``parts``."""
        parts = (*self._merged, *self._separate)
        return msgspec.structs.replace(Delta.sum(parts), parts=parts)


class UnreadEvents:
    """The events of a request since its reader last took them.

    Consecutive deltas become one with ``parts``. Of consecutive positions in the queue, only the newest is kept.
    """

    def __init__(self) -> None:
        self._events: list[Event] = []
        # Deltas that come after ``_events``, once there are two in a row.
        self._backlog: Backlog | None = None

    def __bool__(self) -> bool:
        return bool(self._events) or self._backlog is not None

    def put(self, event: Event) -> None:
        """Add a new event at the end."""
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
            self._events.append(self._backlog.merged())
            self._backlog = None

    def take(self) -> list[Event]:
        """Remove and return all events."""
        self._end_backlog()
        events, self._events = self._events, []
        return events
