"""GET /chat/completions/{completion_id}/events."""

from typing import Annotated

import msgspec
from msgspec import Meta

from jan.errors import InvalidRequest, NotFound
from jan.handler import EventStream, Handler
from jan.operation import operation
from jan.schema.chat import ChatCompletionChunk
from jan.schema.scopes import ANONYMOUS_OR_INFERENCE

_HEADER = "Last-Event-ID"
# As many as a 64-bit number may have.
_MAX_DIGITS = 18


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters."""

    last_event_id: Annotated[
        str | None, Meta(description=f"As the header `{_HEADER}`, which counts if both are given")
    ] = None


class ChatCompletionEvents(Handler):
    """The rest of a streamed answer."""

    @operation(
        summary="Resume a streamed chat completion",
        access=ANONYMOUS_OR_INFERENCE,
        tag="inference",
        query=EventsQuery,
        media_type="text/event-stream",
        events=ChatCompletionChunk,
        headers={_HEADER: "The number (`id:`) of the last event that arrived; without it, all events are sent"},
        errors=(InvalidRequest, NotFound),
    )
    async def get(self, completion_id: str, query: EventsQuery) -> EventStream | None:
        """The events of a completion that was begun with `on_disconnect: finish`: those that came after
        `Last-Event-ID`, then those that are still to come. For its caller only, until a minute after the answer
        is complete. Leaving again does not end it."""
        number = _number(self.request.headers.get(_HEADER) or query.last_event_id or "0")
        resumed = self.resume(completion_id, number)
        return None if self.request.method == "HEAD" else resumed


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise InvalidRequest(
            f"{_HEADER}: must be the number of an event, as its `id:` line says",
            code="invalid_last_event_id",
            param=_HEADER,
        )
    return int(text)
