"""Conversations and their messages: /conversations and what is below it. Times are seconds since the epoch."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jan.schema.chat import MessageId
from jan.schema.messages import AudioPart, FilePart, ImagePart, RefusalPart, TextPart, ToolCall
from jan.schema.sampling import Usage

Title = Annotated[str, Meta(max_length=200)]
ModelName = Annotated[str, Meta(max_length=128)]
MetadataKey = Annotated[str, Meta(min_length=1, max_length=64)]
MetadataValue = Annotated[str, Meta(max_length=512)]
Metadata = Annotated[
    dict[MetadataKey, MetadataValue],
    Meta(max_length=16, description="Up to 16 texts of the client's own: keys of 64, values of 512 characters"),
]
Cursor = Annotated[str, Meta(max_length=300, description="`next_cursor` of the page before")]
Moment = Annotated[int, Meta(ge=0, le=253_402_300_799)]
Part = TextPart | RefusalPart | ImagePart | AudioPart | FilePart
Content = str | Annotated[list[Part], Meta(max_length=1024)] | None
Role = Literal["system", "developer", "user", "assistant", "tool"]
Status = Literal["streaming", "partial", "complete"]

# --- query parameters -------------------------------------------------------------------------------


class ConversationListQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which conversations."""

    limit: Annotated[int, Meta(ge=1, le=100, description="How many at most")] = 20
    cursor: Cursor | None = None
    q: Annotated[str, Meta(max_length=200, description="Only those whose title contains this")] | None = None


class ConversationQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of the history."""

    limit: Annotated[int, Meta(ge=1, le=500, description="How many messages at most, the newest")] = 100


class MessageListQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which messages, in which order."""

    limit: Annotated[int, Meta(ge=1, le=500, description="How many at most")] = 100
    cursor: Cursor | None = None
    order: Annotated[Literal["asc", "desc"], Meta(description="asc: oldest first; desc: newest first")] = "asc"


# --- requests ---------------------------------------------------------------------------------------


class ConversationCreate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new conversation. Without a title it gets one from its first user message."""

    title: Title | None = None
    model: ModelName | None = None
    metadata: Metadata | None = None


class ConversationUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change; what is left out stays. ``metadata`` is replaced as a whole; null empties a field."""

    title: Title | UnsetType | None = UNSET
    model: ModelName | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET


class MessageCreate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message to append.

    ``parent_id``: left out, it goes below the message appended last; null begins a new tree. ``id``: the
    client's own identifier, such as a UUID, that nobody else uses; sent again, the message is not stored again.
    """

    role: Role
    content: Content = None
    parent_id: str | UnsetType | None = UNSET
    id: MessageId | UnsetType = UNSET
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    model: ModelName | None = None


# --- responses --------------------------------------------------------------------------------------


class ConversationMessage(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="object",
    tag="conversation.message",
    forbid_unknown_fields=True,
):
    """A message, a node of its conversation's tree: ``parent_id`` null is a root.

    ``sequence`` counts a conversation's messages from 1, without gaps. ``status`` of an answer: streaming
    while it is generated, partial if it was cut short, else complete.
    """

    id: str
    conversation_id: str
    parent_id: str | None
    sequence: int
    role: Role
    content: str | list[dict[str, Any]] | None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    status: Status
    model: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    created_at: Moment
    updated_at: Moment


class Conversation(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="object", tag="conversation", forbid_unknown_fields=True
):
    """A conversation. ``head_id`` is the message appended last."""

    id: str
    title: Title
    model: ModelName | None
    metadata: Metadata
    created_at: Moment
    updated_at: Moment
    head_id: str | None
    message_count: Annotated[int, Meta(ge=0)]


class ConversationList(msgspec.Struct, frozen=True, kw_only=True):
    """Conversations, changed last first."""

    object: Literal["list"] = "list"
    data: list[Conversation]
    has_more: bool
    next_cursor: str | None


class MessageList(msgspec.Struct, frozen=True, kw_only=True):
    """Messages in the order asked for."""

    object: Literal["list"] = "list"
    data: list[ConversationMessage]
    has_more: bool
    next_cursor: str | None


class ConversationWithMessages(Conversation, frozen=True, kw_only=True):
    """A conversation with its newest messages, oldest of them first.

    If ``has_more``, older ones are at ``.../messages?order=desc&cursor=<next_cursor>``.
    """

    messages: MessageList


class ConversationDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation and all its messages are gone."""

    id: str
    object: Literal["conversation.deleted"] = "conversation.deleted"
    deleted: bool = True


ExportLine = Conversation | ConversationMessage
