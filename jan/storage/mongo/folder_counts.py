"""Folders of conversations on MongoDB."""

from jan.storage.conversation_lists import EVERYTHING, ListFilter
from jan.storage.folder_counts import FolderCount
from jan.storage.mongo.conversations import MongoConversations, in_list
from jan.storage.paging import folder_of, page_of
from jan.storage.records import Page


class MongoFolders:
    """Implements ``folder_counts.FolderRepository`` on MongoDB."""

    def __init__(self, conversations: MongoConversations) -> None:
        self._conversations = conversations.records

    async def page(
        self, user_id: str, *, limit: int, cursor: str | None = None, among: ListFilter = EVERYTHING
    ) -> Page[FolderCount]:
        where = {
            "$and": [{"user_id": user_id, "folder": {"$gt": folder_of(cursor)}}, in_list(user_id, None, among)]
        }
        counts = await self._conversations.count_each("folder", where, limit + 1)
        return page_of(
            [FolderCount(name=name, count=count) for name, count in counts], limit, lambda one: one.name
        )

    async def move(self, user_id: str, folder: str, to: str) -> int:
        return await self._conversations.update_many(
            {"user_id": user_id, "folder": folder}, {"$set": {"folder": to}}
        )
