"""Stored chat completions: answers of a user's conversations that were asked for with ``store``."""

from collections.abc import Callable, Mapping

from jan.conversations.service import Conversations
from jan.errors import NotFound
from jan.storage.records import MessageRecord, Page
from jan.storage.repositories import Store

# Completions that are read at a time to find those that are wanted.
_BATCH = 100


class StoredCompletions:
    """The completions of all users. Every method may raise Unavailable; NotFound stands for another's too."""

    def __init__(self, store: Store, conversations: Conversations) -> None:
        self._store = store
        self._conversations = conversations

    async def get(self, user_id: str, message_id: str) -> MessageRecord:
        """Return the answer of a completion. Raises NotFound."""
        answer = await self._conversations.answer(user_id, message_id)
        if answer.completion_of != user_id:
            raise NotFound("No completion with this id.")
        return answer

    async def page(
        self,
        user_id: str,
        *,
        limit: int,
        after: str | None,
        newest_first: bool,
        wanted: Callable[[MessageRecord], bool],
    ) -> Page[MessageRecord]:
        """Return one page of the completions for which ``wanted`` is true, in order of creation or in reverse."""
        found: list[MessageRecord] = []
        while True:
            page = await self._store.completions.page(
                user_id, limit=_BATCH, after=after, newest_first=newest_first
            )
            found += filter(wanted, page.items)
            after = page.next_cursor
            if after is None or len(found) > limit:
                break
        return Page(found[:limit], found[limit - 1].id if len(found) > limit else None)

    async def set_metadata(
        self, user_id: str, answer: MessageRecord, metadata: Mapping[str, str]
    ) -> MessageRecord:
        """Replace the metadata of a completion and return its answer. Raises NotFound."""
        response = {**(answer.response or {}), "metadata": dict(metadata)}
        return await self._store.completions.describe(user_id, answer.id, response)

    async def question(self, user_id: str, answer: MessageRecord) -> list[MessageRecord]:
        """Return the messages that the request of a completion had and that were stored with it."""
        count = (answer.response or {}).get("question", 0)
        return await self._conversations.question(user_id, answer, count) if count else []

    async def delete(self, user_id: str, answer: MessageRecord) -> None:
        """Remove the content of a completion and of its question: with the conversation, if it is nothing else."""
        question = await self.question(user_id, answer)
        conversation = await self._conversations.get(user_id, answer.conversation_id)
        begun_for_it = (answer.response or {}).get("begins")
        if begun_for_it and conversation.message_count == len(question) + 1:
            await self._conversations.delete(user_id, conversation.id)
        else:
            await self._conversations.empty(user_id, [*question, answer])
