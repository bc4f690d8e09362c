"""Stored chat completions: GET /chat/completions and the URLs below it."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from jan.schema.chat import Metadata
from jan.schema.chat_completion import ChatCompletion

_Limit = Annotated[int, Meta(ge=1, le=100, description="Most entries; default 20")]
_Order = Annotated[Literal["asc", "desc"], Meta(description="asc: oldest first, the default; desc: newest first")]


class StoredChatCompletion(ChatCompletion, kw_only=True):
    """A stored completion, with the metadata that it was given."""

    metadata: dict[str, str]


class ChatCompletionList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of stored completions. ``first_id``, ``last_id``: null if there are none."""

    object: Literal["list"] = "list"
    data: list[StoredChatCompletion]
    has_more: bool
    first_id: str | None
    last_id: str | None


class CompletionListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Query parameters that select stored completions. `metadata[key]=value` selects those with such metadata."""

    model: Annotated[str, Meta(max_length=128, description="Only completions of this model")] | None = None
    limit: _Limit | None = None
    order: _Order | None = None
    after: Annotated[str, Meta(max_length=300, description="Only completions after this one")] | None = None


class CompletionMessagesQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of the messages of a stored completion."""

    limit: _Limit | None = None
    order: _Order | None = None
    after: Annotated[str, Meta(max_length=300, description="Only messages after this one")] | None = None


class CompletionUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The metadata that replaces that of a stored completion. null: none."""

    metadata: Metadata | None


class DeletedCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """Confirmation that a stored completion was deleted."""

    id: str
    object: Literal["chat.completion.deleted"] = "chat.completion.deleted"
    deleted: bool = True
