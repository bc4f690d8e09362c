"""Conversations and their messages: /conversations and all URLs below it. Times are seconds since 1970."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jan.schema.chat import MessageId, Metadata
from jan.schema.messages import AudioPart, FilePart, ImagePart, RefusalPart, TextPart, ToolCall
from jan.schema.output_formats import check_depth
from jan.schema.paging import Cursor, PageQuery
from jan.schema.plain_text import NAME_OR_NOTHING
from jan.schema.sampling import Usage
from jan.schema.stored_items import StoredItem

Title = Annotated[str, Meta(max_length=200, pattern=NAME_OR_NOTHING)]
FolderName = Annotated[str, Meta(max_length=100, pattern=NAME_OR_NOTHING)]
ModelName = Annotated[str, Meta(max_length=128)]
Moment = Annotated[int, Meta(ge=0, le=253_402_300_799)]
Part = TextPart | RefusalPart | ImagePart | AudioPart | FilePart
Content = str | Annotated[list[Part], Meta(max_length=1024)] | None
Role = Literal["system", "developer", "user", "assistant", "tool"]
Status = Literal["streaming", "partial", "complete", "failed"]
NewItems = Annotated[list[dict[str, Any]], Meta(max_length=20)]

# --- query parameters -------------------------------------------------------------------------------


class ConversationListQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters that select conversations."""

    limit: Annotated[int, Meta(ge=1, le=100, description="Maximum number of conversations")] = 20
    cursor: Cursor | None = None
    q: Annotated[str, Meta(max_length=200, description="Only conversations whose title contains this")] | None = (
        None
    )
    pinned: Annotated[bool, Meta(description="true: only pinned ones; false: only the others")] | None = None
    archived: Annotated[bool, Meta(description="true: only archived ones; false: only the others")] | None = None
    folder: Annotated[FolderName, Meta(description="Only those in this folder; empty: in none")] | None = None


class ConversationQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters that limit the history."""

    limit: Annotated[
        int, Meta(ge=1, le=500, description="Maximum number of messages; the newest are returned")
    ] = 100


class MessageListQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters that select and order messages."""

    order: Annotated[Literal["asc", "desc"], Meta(description="asc: oldest first; desc: newest first")] = "asc"


class ExportImportQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of an import of an exported conversation."""

    once: Annotated[
        bool,
        Meta(description="true: 409 if it, or a copy that was made with `once`, is here already"),
    ] = False


# --- requests ---------------------------------------------------------------------------------------


class ConversationCreate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new conversation. Without a title it is named after its first user message."""

    title: Title | None = None
    model: ModelName | None = None
    metadata: Metadata | None = None
    items: Annotated[NewItems, Meta(description="What it begins with, as `input` of /responses")] | None = None

    def __post_init__(self) -> None:
        check_depth(self.items or [])


class ItemsCreate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Items to add to a conversation."""

    items: Annotated[NewItems, Meta(description="As `input` of /responses")]

    def __post_init__(self) -> None:
        check_depth(self.items)


class ConversationUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields to change. Fields left out stay as they are. ``metadata`` is replaced as a whole; null empties a
    field."""

    title: Title | UnsetType | None = UNSET
    model: ModelName | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    pinned: bool | UnsetType = UNSET
    archived: bool | UnsetType = UNSET
    folder: FolderName | UnsetType | None = UNSET


class MessageCreate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message to append.

    - ``parent_id``: the message to append to. Default: the message appended last. null begins a new tree.
    - ``id``: the client's own unique identifier, such as a UUID. A message sent again with the same id is stored
      only once.
    """

    role: Role
    content: Content = None
    parent_id: str | UnsetType | None = UNSET
    id: MessageId | UnsetType = UNSET
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    model: ModelName | None = None

    def __post_init__(self) -> None:
        if self.tool_calls is not None and self.role != "assistant":
            raise ValueError("tool_calls: Only a message of the assistant may have them.")


# --- responses --------------------------------------------------------------------------------------


class _MessageNode(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="object",
    tag="conversation.message",
    forbid_unknown_fields=True,
):
    """The place of a message in its conversation, and all about it but what it says."""

    id: str
    conversation_id: str
    parent_id: str | None
    sequence: int
    role: Role
    status: Status
    model: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    created_at: Moment
    updated_at: Moment


class ConversationMessage(_MessageNode, frozen=True, kw_only=True, tag="conversation.message"):
    """A message, which is a node of its conversation's tree. A root has ``parent_id`` null.

    ``sequence`` counts a conversation's messages from 1, without gaps. The ``status`` of an answer is streaming
    while it is generated, partial if it was cut short, failed if it ended before its first token, and complete
    otherwise. ``reasoning_content``: what the assistant thought before its answer.
    """

    content: str | list[dict[str, Any]] | None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | UnsetType = UNSET


class ExportedMessage(_MessageNode, frozen=True, kw_only=True, tag="conversation.message"):
    """A message in an export. ``items``: what it says, in order.

    In an export of version 1 it has ``content``, ``tool_calls`` and ``tool_call_id`` instead.
    """

    items: Annotated[list[StoredItem], Meta(max_length=1024)] | UnsetType = UNSET
    content: str | list[dict[str, Any]] | UnsetType | None = UNSET
    tool_calls: list[dict[str, Any]] | UnsetType | None = UNSET
    tool_call_id: str | UnsetType | None = UNSET

    def __post_init__(self) -> None:
        if (self.items is UNSET) == (self.content is UNSET):
            raise ValueError("items: Either this or content is needed, and not both.")


class Conversation(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="object", tag="conversation", forbid_unknown_fields=True
):
    """A conversation. ``head_id`` is the message appended last.

    ``origin``: of an imported one, the application that it is from, and its id there, as in ``chatgpt:6b0f``;
    ``jan`` for a server like this one.
    ``pinned``, ``archived``, ``folder``: where its owner has put it; left out if false or empty.
    """

    id: str
    title: Annotated[str, Meta(max_length=200)]
    model: ModelName | None
    metadata: Metadata
    created_at: Moment
    updated_at: Moment
    head_id: str | None
    message_count: Annotated[int, Meta(ge=0)]
    origin: str | UnsetType = UNSET
    pinned: bool | UnsetType = UNSET
    archived: bool | UnsetType = UNSET
    folder: FolderName | UnsetType = UNSET


class ConversationList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of conversations, the last changed first."""

    object: Literal["list"] = "list"
    data: list[Conversation]
    has_more: bool
    next_cursor: str | None


class MessageList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of messages in the requested order."""

    object: Literal["list"] = "list"
    data: list[ConversationMessage]
    has_more: bool
    next_cursor: str | None


class ConversationWithMessages(Conversation, frozen=True, kw_only=True):
    """A conversation with its newest messages, oldest first.

    If ``has_more`` is true, older messages are at ``.../messages?order=desc&cursor=<next_cursor>``.
    """

    messages: MessageList


class ConversationDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """Confirmation that a conversation and all its messages were deleted."""

    id: str
    object: Literal["conversation.deleted"] = "conversation.deleted"
    deleted: bool = True


class ExportedConversation(Conversation, frozen=True, kw_only=True, tag="conversation"):
    """The first line of an export. In version 2, messages have items."""

    version: Literal[1, 2] = 1


ExportLine = ExportedConversation | ExportedMessage
