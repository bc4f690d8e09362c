"""The messages of a conversation that is exported, in batches."""

from collections.abc import AsyncGenerator

from jan.storage.records import ConversationRecord, MessageRecord, Page
from jan.storage.repositories import Store

#: Messages that are read at a time.
EXPORTED_AT_ONCE = 200


async def exported_batches(
    store: Store, conversation: ConversationRecord, page: Page[MessageRecord]
) -> AsyncGenerator[list[MessageRecord], None]:
    """Yield the messages that were there when the conversation was read, beginning with its first page."""
    while page.items:
        # Later ones are not counted in the conversation's own line, and would not fit it.
        known = [message for message in page.items if message.sequence <= conversation.message_count]
        yield known
        if page.next_cursor is None or len(known) < len(page.items):
            return
        page = await store.messages.page(
            conversation.user_id, conversation.id, limit=EXPORTED_AT_ONCE, cursor=page.next_cursor
        )
