"""Contract of the folders that users put their conversations into. A folder exists while something is in it."""

from typing import Protocol

import msgspec

from jan.storage.conversation_lists import EVERYTHING, ListFilter
from jan.storage.records import Page


class FolderCount(msgspec.Struct, frozen=True, kw_only=True):
    """A folder, and the number of conversations in it."""

    name: str
    count: int


class FolderRepository(Protocol):
    """The folders of users, each user's apart from those of others."""

    async def page(
        self, user_id: str, *, limit: int, cursor: str | None = None, among: ListFilter = EVERYTHING
    ) -> Page[FolderCount]:
        """List the user's folders by the code points of their names.

        ``among``: the conversations that are counted. Folders with none of them are left out.
        """

    async def move(self, user_id: str, folder: str, to: str) -> int:
        """Put all conversations of a folder into another, "" for none; return their number.

        Their times of change stay. On a backend without transactions an interrupted move is finished by repeating
        it.
        """
