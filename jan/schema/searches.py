"""Searches through conversations: GET /search."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from jan.schema.conversations import Moment, Role
from jan.schema.paging import Cursor


class SearchQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters that say what to search for."""

    q: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=200,
            description='Words, all of which must be there; "quotes" make a phrase',
            examples=["hello"],
        ),
    ]
    limit: Annotated[int, Meta(ge=1, le=50, description="Maximum number of hits")] = 20
    cursor: Cursor | None = None


class SearchSnippetPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a snippet, as plain text. ``hit``: it is what was searched for."""

    text: str
    hit: bool


class SearchHit(msgspec.Struct, frozen=True, kw_only=True, tag_field="object", tag="search.hit"):
    """A title or a message with what was searched for. ``message_id`` and ``role`` are null for a title.

    The texts of all parts of ``snippet`` together are a piece of the title or message, as it is stored.
    """

    conversation_id: str
    title: str
    message_id: str | None
    role: Role | None
    created_at: Moment
    snippet: list[SearchSnippetPart]


class SearchResults(msgspec.Struct, frozen=True, kw_only=True):
    """A page of hits, the most relevant first.

    ``indexing``: old messages are being made searchable, and some of them are not found yet. ``truncated``: the
    query fits more than a search looks at, and some older hits are left out.
    """

    object: Literal["list"] = "list"
    data: list[SearchHit]
    has_more: bool
    next_cursor: str | None
    indexing: bool
    truncated: bool
