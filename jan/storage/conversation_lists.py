"""The choice of conversations that a list shows, the same for every backend."""

import msgspec


class ListFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Conversations of a list: those that agree with all that is not None.

    ``title``: a part of the title. ``folder``: the name of a folder; "" for conversations that are in none.
    """

    title: str | None = None
    pinned: bool | None = None
    archived: bool | None = None
    folder: str | None = None


#: Every conversation.
EVERYTHING = ListFilter()
