"""Requests for one page of a list."""

from typing import Annotated

import msgspec
from msgspec import Meta

Cursor = Annotated[str, Meta(max_length=300, description="The `next_cursor` of the previous page")]


class PageQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters that select a page of a list."""

    limit: Annotated[int, Meta(ge=1, le=500, description="Maximum number of entries")] = 100
    cursor: Cursor | None = None
