"""Deletes conversations that were made for responses which named none, once they are old."""

from contextlib import suppress
from datetime import datetime

from jan.errors import NotFound
from jan.storage.repositories import Store

# Conversations that are found at a time.
_BATCH = 100


async def expire(store: Store, before: datetime) -> int:
    """Delete those that did not change since ``before``; return their number."""
    deleted = 0
    while found := await store.conversations.unnamed(before, _BATCH):
        for conversation in found:
            with suppress(NotFound):  # another server deletes too
                await store.conversations.delete(conversation.user_id, conversation.id)
                await store.idempotent_answers.forget_about(conversation.id)
                deleted += 1
    return deleted
