"""GET /chat/completions/{completion_id}/events, which resumes a stream."""

from typing import Annotated

import msgspec
from msgspec import Meta

from jan.errors import InvalidRequest, NotFound
from jan.handler import EventStream, Handler
from jan.operation import operation
from jan.schema.chat_completion import ChatCompletionChunk
from jan.schema.scopes import ANONYMOUS_OR_INFERENCE

_HEADER = "Last-Event-ID"
# The digits of a 64-bit number.
_MAX_DIGITS = 18


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters that say where to resume."""

    last_event_id: Annotated[
        str | None, Meta(description=f"Same as the header `{_HEADER}`, which takes precedence")
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
        headers={_HEADER: "Number (`id:`) of the last event that arrived; default: send all events"},
        errors=(InvalidRequest, NotFound),
    )
    async def get(self, completion_id: str, query: EventsQuery) -> EventStream | None:
        """Stream the events of a completion that was begun with `on_disconnect: finish`: first those after
        `Last-Event-ID`, then the new ones. Only the completion's caller may read it, until a minute after its end.
        Disconnecting again does not end it."""
        number = _number(self.request.headers.get(_HEADER) or query.last_event_id or "0")
        resumed = self.resume(completion_id, number)
        return None if self.request.method == "HEAD" else resumed


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise InvalidRequest(
            f"{_HEADER}: Not the number of an event; allowed: the number in an event's `id:` line.",
            code="invalid_last_event_id",
            param=_HEADER,
        )
    return int(text)
