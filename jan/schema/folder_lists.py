"""Folders of conversations: /conversations/folders."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from jan.schema.conversations import FolderName
from jan.schema.paging import PageQuery
from jan.schema.plain_text import NAME


class FolderListQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters that select folders."""

    pinned: Annotated[bool, Meta(description="true: count pinned ones; false: count the others")] | None = None
    archived: Annotated[bool, Meta(description="true: count archived ones; false: count the others")] | None = None


class FolderMove(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A folder, and the one that its conversations are put into: null or an empty text for none."""

    folder: Annotated[str, Meta(max_length=100, pattern=NAME)]
    to: FolderName | None


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """A folder. ``count``: the number of conversations in it."""

    object: Literal["conversation.folder"] = "conversation.folder"
    name: str
    count: int


class FolderList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of folders, ordered by the code points of their names."""

    object: Literal["list"] = "list"
    data: list[Folder]
    has_more: bool
    next_cursor: str | None


class FolderMoved(msgspec.Struct, frozen=True, kw_only=True):
    """Confirmation that conversations were moved. ``to`` is null for no folder, ``moved`` their number."""

    object: Literal["conversation.folder.moved"] = "conversation.folder.moved"
    folder: str
    to: str | None
    moved: int
