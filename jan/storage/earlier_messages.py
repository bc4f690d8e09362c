"""Reads messages as they are stored, also those that were stored before messages had items.

Up to schema version 13 a message had its content, its reasoning and its calls in fields of their own. A migration
gives it items. What that has not reached yet, and what is in files that were exported earlier, is read here.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec

from jan.schema.stored_items import JsonObject, items_made_of
from jan.storage.records import MessageRecord, MessageRole, MessageStatus, Record, TokenUsage, now

#: Fields that a message had instead of items.
EARLIER_FIELDS = ("content", "tool_calls", "tool_call_id", "reasoning")
_KEPT = tuple(name for name in MessageRecord.__struct_fields__ if name not in ("items", "failure"))


class EarlierMessage(Record, frozen=True, kw_only=True):
    """A message without items."""

    conversation_id: str
    parent_id: str | None = None
    role: MessageRole
    content: str | list[JsonObject] | None
    tool_calls: list[JsonObject] | None = None
    tool_call_id: str | None = None
    reasoning: str | None = None
    response: JsonObject | None = None
    status: MessageStatus = "complete"
    model: str | None = None
    finish_reason: str | None = None
    usage: TokenUsage | None = None
    created_at: datetime = msgspec.field(default_factory=now)
    updated_at: datetime = msgspec.field(default_factory=now)
    sequence: int = 0

    def with_items(self) -> MessageRecord:
        """Return the message as it is stored today."""
        items = items_made_of(
            self.content,
            reasoning=self.reasoning,
            tool_calls=self.tool_calls,
            tool_call_id=self.tool_call_id,
            is_result=self.role == "tool",
        )
        return MessageRecord(items=items, **{name: getattr(self, name) for name in _KEPT})


_today = msgspec.json.Decoder(MessageRecord)
_earlier = msgspec.json.Decoder(EarlierMessage)


def read_message(document: str | bytes) -> MessageRecord:
    """Read a message from JSON. Raises msgspec.ValidationError."""
    try:
        return _today.decode(document)
    except msgspec.ValidationError as error:
        with suppress(msgspec.ValidationError):
            return _earlier.decode(document).with_items()
        raise error from None


def message_of(fields: Mapping[str, Any]) -> MessageRecord:
    """Return the message with these fields. Raises msgspec.ValidationError."""
    if "items" in fields:
        return msgspec.convert(fields, MessageRecord)
    return msgspec.convert(fields, EarlierMessage).with_items()


def itemised(document: str) -> str:
    """Return a message in JSON as it is stored today; unchanged if it can't be read."""
    with suppress(msgspec.ValidationError):
        return msgspec.json.encode(read_message(document)).decode()
    return document
