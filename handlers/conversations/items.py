"""Serves a conversation as OpenAI's Conversations API has it: .../{conversation_id}/items and each of them.

The items are those of the messages on the path from the root to the message appended last.
"""

from collections.abc import Sequence
from typing import Any

from handlers.conversations.added_items import naming_items, read_added
from handlers.conversations.translate import conversation_to_wire
from handlers.openai.responses.item_pages import page_of_items
from handlers.openai.responses.shown_items import items_of
from jan.errors import NotFound, Unavailable
from jan.handler import READ, WRITE, Handler
from jan.operation import Example, operation
from jan.schema.conversations import Conversation, ItemsCreate
from jan.schema.responses import InputItems, ItemsQuery
from jan.storage.records import MessageRecord
from jan.tasks import apart


class ConversationItems(Handler):
    """The items of a conversation."""

    @operation(
        summary="List the items of a conversation",
        access=READ,
        tag="conversations",
        query=ItemsQuery,
        response=InputItems,
        errors=(NotFound, Unavailable),
    )
    async def get(self, conversation_id: str, query: ItemsQuery) -> InputItems:
        """List messages, calls, results and reasoning from the root to the message appended last, newest first
        unless `order` is asc. Other branches are not listed."""
        path = await self.services.conversations.path(self.user_id, conversation_id)
        return await apart(
            len(path), lambda: page_of_items([item for message in path for item in shown_items(message)], query)
        )

    @operation(
        summary="Add items to a conversation",
        access=WRITE,
        tag="conversations",
        request=ItemsCreate,
        creates=True,
        response=InputItems,
        errors=(NotFound, Unavailable),
        examples=(Example(summary="A message", body={"items": [{"role": "user", "content": "Hello!"}]}),),
    )
    async def post(self, conversation_id: str, body: ItemsCreate) -> InputItems:
        """Add up to 20 items below the message appended last, and return them. Nothing answers them."""
        added = read_added(body.items, self.services.encrypted_texts.of(self.identity.owner))
        self.ignore(*added.ignored)
        with naming_items():
            stored = await self.services.conversations.add(
                self.user_id, conversation_id, added.messages, self.mint
            )
        items = [item for message in stored for item in shown_items(message)]
        return page_of_items(items, ItemsQuery(order="asc", limit=len(items) or None))


class ConversationItem(Handler):
    """One item of a conversation."""

    @operation(
        summary="Get an item of a conversation",
        access=READ,
        tag="conversations",
        response=dict[str, Any],
        errors=(NotFound, Unavailable),
    )
    async def get(self, conversation_id: str, item_id: str) -> dict[str, Any]:
        """Return one of the items from the root to the message appended last."""
        _, item = await self._find(conversation_id, item_id)
        return item

    @operation(
        summary="Delete an item of a conversation",
        access=WRITE,
        tag="conversations",
        response=Conversation,
        errors=(NotFound, Unavailable),
    )
    async def delete(self, conversation_id: str, item_id: str) -> Conversation:
        """Remove the content of an item, whose place in the conversation stays. An answer is one message: with
        one of its items all of them go."""
        message, _ = await self._find(conversation_id, item_id)
        await self.services.conversations.empty(self.user_id, [message])
        await self.services.idempotency.forget_about(conversation_id)
        return conversation_to_wire(await self.services.conversations.get(self.user_id, conversation_id))

    async def _find(self, conversation_id: str, item_id: str) -> tuple[MessageRecord, dict[str, Any]]:
        path = await self.services.conversations.path(self.user_id, conversation_id)
        found = await apart(len(path), lambda: _item_of(path, item_id))
        if found is None:
            raise NotFound(f"Item with id '{item_id[:64]}' not found.", code="item_not_found", param="item_id")
        return found


def _item_of(path: Sequence[MessageRecord], item_id: str) -> tuple[MessageRecord, dict[str, Any]] | None:
    """Return the item with this id, and its message; None if there is none."""
    for message in path:
        for item in shown_items(message):
            if item["id"] == item_id:
                return message, item
    return None


def shown_items(message: MessageRecord) -> list[dict[str, Any]]:
    """Return a message as items: none if its content was deleted, or if it is an answer without any yet."""
    began = message.role != "assistant" or message.content or message.tool_calls or message.reasoning
    return items_of(message) if began and not message.is_emptied else []
