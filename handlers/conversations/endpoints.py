"""Serves /conversations and /conversations/{conversation_id}."""

import msgspec

from handlers.conversations.added_items import naming_items, read_added
from handlers.conversations.translate import conversation_to_wire, messages_to_wire
from jan.errors import NotFound, Unavailable
from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.conversations import (
    Conversation,
    ConversationCreate,
    ConversationDeleted,
    ConversationList,
    ConversationListQuery,
    ConversationQuery,
    ConversationUpdate,
    ConversationWithMessages,
)
from jan.schema.scopes import READ, WRITE
from jan.storage.conversation_lists import ListFilter
from jan.storage.records import ConversationChanges, ConversationRecord


class ConversationCollection(Handler):
    """The conversations of the caller."""

    @operation(
        summary="Create a conversation",
        access=WRITE,
        tag="conversations",
        request=ConversationCreate,
        response=Conversation,
        creates=True,
        errors=(Unavailable,),
        examples=(
            Example(summary="With a title", body={"title": "My Conversation", "model": "jan-v1-4b"}),
            Example(summary="Titled by its first message", body={"metadata": {"project": "garden"}}),
            Example(summary="With items", body={"items": [{"role": "user", "content": "Hello!"}]}),
        ),
    )
    async def post(self, body: ConversationCreate) -> Conversation:
        """Create a conversation, which is empty or begins with `items`. Append to it with POST .../messages or
        .../items, or talk in it by giving its id as `conversation_id` to /chat/completions or as `conversation` to
        /responses."""
        added = read_added(body.items or (), self.services.encrypted_texts.of(self.identity.owner))
        self.ignore(*added.ignored)
        new = ConversationRecord(
            id=self.mint.new_id("conv"),
            user_id=self.user_id,
            title=body.title or "",
            model=body.model,
            metadata=body.metadata or {},
        )
        conversations = self.services.conversations
        if not added.messages:
            return conversation_to_wire(await conversations.create(new, self.mint))
        with naming_items():
            return conversation_to_wire(await conversations.create_with(new, added.messages, self.mint))

    @operation(
        summary="List conversations",
        access=READ,
        tag="conversations",
        query=ConversationListQuery,
        response=ConversationList,
        errors=(Unavailable,),
        examples=(Example(summary="The newest"),),
    )
    async def get(self, query: ConversationListQuery) -> ConversationList:
        """List the caller's conversations, changed last first, a page at a time: `next_cursor` of one page is the
        `cursor` of the next. Without `archived`, those that are archived are among them."""
        among = ListFilter(title=query.q, pinned=query.pinned, archived=query.archived, folder=query.folder)
        page = await self.services.conversations.page(
            self.user_id, limit=query.limit, cursor=query.cursor, among=among
        )
        return ConversationList(
            data=[conversation_to_wire(conversation) for conversation in page.items],
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
        )


class OneConversation(Handler):
    """One conversation of the caller."""

    @operation(
        summary="Get a conversation with its messages",
        access=READ,
        tag="conversations",
        query=ConversationQuery,
        response=ConversationWithMessages,
        errors=(NotFound, Unavailable),
    )
    async def get(self, conversation_id: str, query: ConversationQuery) -> ConversationWithMessages:
        """Return the conversation with its newest messages, those of all branches, the oldest of them first. If
        `messages.has_more`, older ones are at .../messages?order=desc&cursor=`messages.next_cursor`."""
        conversations = self.services.conversations
        found = await conversations.get(self.user_id, conversation_id)
        page = await conversations.messages(self.user_id, conversation_id, limit=query.limit, newest_first=True)
        messages = messages_to_wire(page)
        messages.data.reverse()
        return ConversationWithMessages(**msgspec.structs.asdict(conversation_to_wire(found)), messages=messages)

    @operation(
        summary="Change a conversation",
        access=WRITE,
        tag="conversations",
        request=ConversationUpdate,
        response=Conversation,
        errors=(NotFound, Unavailable),
        examples=(
            Example(summary="Another title", body={"title": "Tomatoes"}),
            Example(summary="Pinned, in a folder", body={"pinned": True, "folder": "Garden"}),
        ),
    )
    async def patch(self, conversation_id: str, body: ConversationUpdate) -> Conversation:
        """Set title, model, metadata, pin, archive or folder; what the body leaves out stays as it is. Pins,
        archive and folders leave `updated_at` as it is."""
        return await self._change(conversation_id, body)

    @operation(
        summary="Change a conversation, as OpenAI's clients do",
        access=WRITE,
        tag="conversations",
        request=ConversationUpdate,
        response=Conversation,
        errors=(NotFound, Unavailable),
        examples=(Example(summary="Other metadata", body={"metadata": {"project": "garden"}}),),
    )
    async def post(self, conversation_id: str, body: ConversationUpdate) -> Conversation:
        """Do what PATCH does."""
        return await self._change(conversation_id, body)

    async def _change(self, conversation_id: str, body: ConversationUpdate) -> Conversation:
        changes = ConversationChanges(
            title="" if body.title is None else body.title,
            model=body.model,
            metadata={} if body.metadata is None else body.metadata,
            pinned=body.pinned,
            archived=body.archived,
            folder="" if body.folder is None else body.folder,
        )
        changed = await self.services.conversations.update(self.user_id, conversation_id, changes)
        return conversation_to_wire(changed)

    @operation(
        summary="Delete a conversation",
        access=WRITE,
        tag="conversations",
        response=ConversationDeleted,
        errors=(NotFound, Unavailable),
    )
    async def delete(self, conversation_id: str) -> ConversationDeleted:
        """Remove the conversation and all its messages, for good."""
        await self.services.conversations.delete(self.user_id, conversation_id)
        await self.services.idempotency.forget_about(conversation_id)
        self.services.streams.forget_about(conversation_id)
        return ConversationDeleted(id=conversation_id)
