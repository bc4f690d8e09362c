"""Searches through a user's conversations: ranked, in pages, each hit with its conversation."""

import re

import msgspec

from jan.errors import InvalidRequest
from jan.storage.records import ConversationRecord
from jan.storage.repositories import Store
from jan.storage.text_search import TextHit, Wanted

_CURSOR = re.compile(r"([0-9]{1,9})\.([!-~]{1,200})")


class SearchPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of hits, the most relevant first, and the conversations that they are in.

    ``more``: there were more candidates than a search looks at. ``indexing``: some old messages can't be found
    yet.
    """

    hits: list[TextHit]
    conversations: dict[str, ConversationRecord]
    more: bool
    indexing: bool
    next_cursor: str | None = None


async def search(store: Store, user_id: str, query: str, *, limit: int, cursor: str | None) -> SearchPage:
    """Return a page of the hits of a query. Raises InvalidRequest for one without words, or for a wrong cursor."""
    wanted, after = Wanted(query), _after(cursor)
    if not wanted.words:
        raise InvalidRequest("q: A search needs a character other than spaces and quotes.", param="q")
    found = await store.search.find(user_id, wanted)
    ranked = sorted(found.hits, key=lambda hit: hit.position, reverse=True)
    rest = [hit for hit in ranked if after is None or hit.position < after]
    page = rest[:limit]
    ids = sorted({hit.conversation_id for hit in page})
    known = {one.id: one for one in await store.archive.matching(ConversationRecord, ids)}
    return SearchPage(
        # A conversation may have been deleted since.
        hits=[hit for hit in page if hit.conversation_id in known],
        conversations=known,
        more=found.more,
        indexing=found.indexing,
        next_cursor="{}.{}".format(*page[-1].position) if len(rest) > limit else None,
    )


def _after(cursor: str | None) -> tuple[int, str] | None:
    if cursor is None:
        return None
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise InvalidRequest("This cursor is not one that a list gave out.", param="cursor", code="invalid_cursor")
    return int(found[1]), found[2]
