"""The folders of a user's conversations: listed, renamed, joined, removed."""

from jan.storage.conversation_lists import EVERYTHING, ListFilter
from jan.storage.folder_counts import FolderCount
from jan.storage.records import Page
from jan.storage.repositories import Store


class Folders:
    """The folders of all users. Every method may raise Unavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def page(
        self, user_id: str, *, limit: int, cursor: str | None = None, among: ListFilter = EVERYTHING
    ) -> Page[FolderCount]:
        """Return one page of a user's folders by name, with the numbers of their conversations among some. Raises
        InvalidRequest for a malformed cursor."""
        return await self._store.folders.page(user_id, limit=limit, cursor=cursor, among=among)

    async def move(self, user_id: str, folder: str, to: str) -> int:
        """Put all conversations of a folder into another, "" for none; return their number."""
        return 0 if folder == to else await self._store.folders.move(user_id, folder, to)
