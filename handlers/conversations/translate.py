"""Translates conversations and messages between the store's form and the wire's. Wire times are whole seconds."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET

from jan.schema import conversations as wire
from jan.schema.sampling import CompletionTokensDetails, PromptTokensDetails, Usage
from jan.schema.stored_items import items_made_of
from jan.storage.records import ConversationRecord, MessageRecord, Page, TokenUsage

# Fields that stored and shown messages have alike.
_ALIKE = (
    "id",
    "conversation_id",
    "parent_id",
    "sequence",
    "role",
    "status",
    "model",
    "finish_reason",
)


def conversation_to_wire(conversation: ConversationRecord) -> wire.Conversation:
    """Return a conversation as clients see it."""
    return wire.Conversation(
        id=conversation.id,
        title=conversation.title,
        model=conversation.model,
        metadata=conversation.metadata,
        created_at=_seconds(conversation.created_at),
        updated_at=_seconds(conversation.updated_at),
        head_id=conversation.head_id,
        message_count=conversation.message_count,
        origin=conversation.origin or UNSET,
        pinned=conversation.pinned or UNSET,
        archived=conversation.archived or UNSET,
        folder=conversation.folder or UNSET,
    )


def exported_conversation(conversation: ConversationRecord) -> wire.ExportedConversation:
    """Return a conversation as the first line of an export."""
    shown = msgspec.structs.asdict(conversation_to_wire(conversation))
    return wire.ExportedConversation(version=2, **shown)


def message_to_wire(message: MessageRecord) -> wire.ConversationMessage:
    """Return a message as clients see it."""
    return wire.ConversationMessage(
        content=message.content,
        tool_calls=message.tool_calls,
        tool_call_id=message.tool_call_id,
        reasoning_content=message.reasoning or UNSET,
        **_node(message),
    )


def exported(message: MessageRecord) -> wire.ExportedMessage:
    """Return a message as a line of an export."""
    return wire.ExportedMessage(items=list(message.items), **_node(message))


def _node(message: MessageRecord) -> dict[str, Any]:
    """Return what all forms of a message have in common."""
    return {
        **{name: getattr(message, name) for name in _ALIKE},
        "usage": None if message.usage is None else usage_of_record(message.usage),
        "created_at": _seconds(message.created_at),
        "updated_at": _seconds(message.updated_at),
    }


def messages_to_wire(page: Page[MessageRecord]) -> wire.MessageList:
    """Return a page of messages as clients see it."""
    return wire.MessageList(
        data=[message_to_wire(message) for message in page.items],
        has_more=page.next_cursor is not None,
        next_cursor=page.next_cursor,
    )


def conversation_from_wire(conversation: wire.ExportedConversation, user_id: str) -> ConversationRecord:
    """Return an exported conversation as a record of this user's."""
    fields = msgspec.structs.asdict(conversation) | {
        "created_at": _moment(conversation.created_at),
        "updated_at": _moment(conversation.updated_at),
    }
    del fields["version"]
    return ConversationRecord(user_id=user_id, **{k: v for k, v in fields.items() if v is not UNSET})


def message_from_wire(message: wire.ExportedMessage) -> MessageRecord:
    """Return an exported message of any version as a record."""
    if message.items is not UNSET:
        items = tuple(message.items)
    else:
        items = items_made_of(
            None if message.content is UNSET else message.content,
            tool_calls=message.tool_calls or None,
            tool_call_id=message.tool_call_id or None,
            is_result=message.role == "tool",
        )
    return MessageRecord(
        items=items,
        usage=None if message.usage is None else usage_record(message.usage),
        created_at=_moment(message.created_at),
        updated_at=_moment(message.updated_at),
        **{name: getattr(message, name) for name in _ALIKE},
    )


def usage_record(usage: Usage) -> TokenUsage:
    """Return token counts as the store keeps them."""
    return TokenUsage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.prompt_tokens_details.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )


def usage_of_record(usage: TokenUsage) -> Usage:
    """Return stored token counts as APIs have them."""
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=usage.cached_tokens),
        completion_tokens_details=(
            CompletionTokensDetails(reasoning_tokens=usage.reasoning_tokens) if usage.reasoning_tokens else UNSET
        ),
    )


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
