"""Links to conversations: made, listed and revoked by their owner, read by whoever has one."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jan.schema.paging import PageQuery
from jan.schema.rendered_texts import RenderedBlock

Title = Annotated[str, Meta(max_length=200)]
Moment = Annotated[int, Meta(ge=0, le=253_402_300_799)]
Secret = Annotated[str, Meta(min_length=1, max_length=64)]


class ShareCreate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new link: how long it works, and which messages it shows.

    Without ``message_id`` it shows all branches, else the branch from the root to that message.
    """

    expires_in: (
        Annotated[
            int,
            Meta(
                ge=60, le=315_360_000, description="Seconds until its end: a week, and at most `shares.max_days`"
            ),
        ]
        | UnsetType
    ) = UNSET
    message_id: Annotated[str, Meta(max_length=200, description="Only the branch up to this message")] | None = (
        None
    )
    include_later: Annotated[bool, Meta(description="Show messages too that are added later")] = False
    include_system: Annotated[bool, Meta(description="Show the system prompt too")] = False

    def __post_init__(self) -> None:
        if self.include_later and self.message_id is not None:
            raise ValueError("include_later: A branch ends with its message_id. Leave one of them out.")


class ShareInfo(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="object", tag="share", forbid_unknown_fields=True
):
    """A link to a conversation. ``title`` is the one that it shows. Times are UTC."""

    id: str
    conversation_id: str
    title: Title
    message_id: str | None
    include_later: bool
    include_system: bool
    created_at: datetime
    expires_at: datetime


class CreatedShare(ShareInfo, frozen=True, kw_only=True, tag="share"):
    """A new link with its secret, which is shown only once. ``fragment`` behind the page's address is the link."""

    secret: str
    fragment: str

    def __repr__(self) -> str:
        return f"CreatedShare(id={self.id!r})"


class ShareList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of links that have not ended, in order of creation."""

    object: Literal["list"] = "list"
    data: list[ShareInfo]
    has_more: bool
    next_cursor: str | None


class ShareListQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters that select links."""


class ShareRevoked(msgspec.Struct, frozen=True, kw_only=True):
    """Confirmation that a link opens nothing any more."""

    id: str
    object: Literal["share.deleted"] = "share.deleted"
    deleted: bool = True


class SharedQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A link, and the part of its conversation that is read."""

    secret: Annotated[Secret, Meta(description="What follows `#share=` in the link")]
    limit: Annotated[int, Meta(ge=1, le=100, description="Maximum number of messages")] = 100
    cursor: Annotated[str, Meta(max_length=20, description="The `next_cursor` of the previous page")] | None = None
    include_html: Annotated[bool, Meta(description="Give answers as blocks of safe HTML too")] = False

    def __repr__(self) -> str:
        return "SharedQuery(...)"


class SharedMessage(msgspec.Struct, kw_only=True):
    """A message of a shared conversation, a node of its tree.

    ``texts``: what it says; empty for one that is not shown, such as the result of a tool, which keeps its place.
    ``left_out``: how many parts are not shown, such as images. ``blocks``: an answer as HTML.
    """

    id: str
    parent_id: str | None
    sequence: int
    role: Literal["system", "developer", "user", "assistant", "tool"]
    model: str | None
    created_at: Moment
    texts: list[str]
    left_out: int | UnsetType = UNSET
    blocks: list[RenderedBlock] | UnsetType = UNSET


class SharedConversation(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a shared conversation, in the order in which its messages were added."""

    object: Literal["shared_conversation"] = "shared_conversation"
    title: Title
    created_at: datetime
    expires_at: datetime
    data: list[SharedMessage]
    has_more: bool
    next_cursor: str | None


class SharingOffer(msgspec.Struct, frozen=True, kw_only=True):
    """Links can be made. ``max_seconds``: how long one works at most."""

    max_seconds: int
