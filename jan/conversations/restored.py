"""Copies of exported conversations: new identifiers, the same tree."""

from collections.abc import Sequence

import msgspec

from jan.conversations.history import check_message
from jan.errors import InvalidRequest
from jan.idempotency.ids import IdSource
from jan.storage.records import ConversationRecord, MessageRecord, now

_replace = msgspec.structs.replace


def copy_of(
    user_id: str, conversation: ConversationRecord, messages: Sequence[MessageRecord], ids: IdSource
) -> tuple[ConversationRecord, list[MessageRecord]]:
    """Copy a conversation for a user, with new identifiers from ``ids``.

    Raises InvalidRequest for messages that are no tree in order, or that no model could get.
    """
    new_ids = _new_ids(messages, ids)
    at, conversation_id = now(), ids.new_id("conv")
    copies = [
        _replace(
            check_message(message),
            id=new_ids[message.id],
            conversation_id=conversation_id,
            parent_id=None if message.parent_id is None else new_ids[message.parent_id],
            # An answer that was under way when it was exported goes no further here.
            status="partial" if message.status == "streaming" else message.status,
        )
        for message in messages
    ]
    copy = _replace(
        conversation,
        id=conversation_id,
        user_id=user_id,
        updated_at=min(conversation.updated_at, at),
        head_id=copies[-1].id if copies else None,
        message_count=len(copies),
    )
    return copy, copies


def _new_ids(messages: Sequence[MessageRecord], ids: IdSource) -> dict[str, str]:
    """Map each message's id to a new one; raises InvalidRequest if they are not in order, parents first."""
    new_ids: dict[str, str] = {}
    for number, message in enumerate(messages, 1):
        fault = None
        if message.sequence != number:
            fault = f"The sequence is {message.sequence}, not {number}."
        elif message.id in new_ids:
            fault = "The id is that of another message too."
        elif message.parent_id is not None and message.parent_id not in new_ids:
            fault = "The parent does not come before the message."
        if fault is not None:
            raise InvalidRequest(f"line {number + 1}: {fault}", code="invalid_export")
        new_ids[message.id] = ids.new_id("msg")
    return new_ids
