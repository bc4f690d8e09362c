"""Contract of stored chat completions: answers of a user's conversations that were asked for with ``store``.

They are found by ``MessageRecord.completion_of``. The id of a message sorts by time of creation.
"""

from typing import Protocol

from jan.schema.stored_items import JsonObject
from jan.storage.records import MessageRecord, Page


class CompletionRepository(Protocol):
    """Stored completions, as messages."""

    async def page(
        self, user_id: str, *, limit: int, after: str | None = None, newest_first: bool = False
    ) -> Page[MessageRecord]:
        """List a user's completions in order of creation or in reverse. ``after``: the id of a message.

        A page ends early, with a cursor, before it exceeds ``paging.PAGE_BYTES``. It has at least one message.
        """

    async def describe(self, user_id: str, message_id: str, response: JsonObject) -> MessageRecord:
        """Replace ``response`` of a user's completion and return the message. Raises NotFound."""
