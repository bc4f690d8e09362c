"""Serves /conversations/folders, where conversations are kept together."""

from jan.errors import Unavailable
from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.folder_lists import Folder, FolderList, FolderListQuery, FolderMove, FolderMoved
from jan.schema.scopes import READ, WRITE
from jan.storage.conversation_lists import ListFilter


class ConversationFolders(Handler):
    """The folders that the caller's conversations are in."""

    @operation(
        summary="List the folders of conversations",
        access=READ,
        tag="conversations",
        query=FolderListQuery,
        response=FolderList,
        errors=(Unavailable,),
    )
    async def get(self, query: FolderListQuery) -> FolderList:
        """List the caller's folders by name, each with the number of its conversations, a page at a time:
        `next_cursor` of one page is the `cursor` of the next. A folder is there as long as a conversation is in
        it."""
        among = ListFilter(pinned=query.pinned, archived=query.archived)
        page = await self.services.conversations.folders.page(
            self.user_id, limit=query.limit, cursor=query.cursor, among=among
        )
        return FolderList(
            data=[Folder(name=one.name, count=one.count) for one in page.items],
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
        )

    @operation(
        summary="Rename or remove a folder",
        access=WRITE,
        tag="conversations",
        request=FolderMove,
        response=FolderMoved,
        errors=(Unavailable,),
        examples=(
            Example(summary="Another name", body={"folder": "Garden", "to": "Plants"}),
            Example(summary="No folder any more", body={"folder": "Garden", "to": None}),
        ),
    )
    async def patch(self, body: FolderMove) -> FolderMoved:
        """Put all conversations of a folder into another one, or into none. The other may have conversations
        already. Archived ones are moved too. `updated_at` of the conversations stays as it is."""
        moved = await self.services.conversations.folders.move(self.user_id, body.folder, body.to or "")
        return FolderMoved(folder=body.folder, to=body.to or None, moved=moved)
