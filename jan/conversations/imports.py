"""Imports of conversations: whole or nothing, in batches that let others write in between.

The messages are stored first, under a conversation that does not exist yet, so nobody sees them. The conversation
is stored last, in one step. A marker says that the import is under way: a conversation that belongs to nobody. An
import that does not get to its end leaves it behind, and then ``tidy`` removes the messages.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from jan.errors import Conflict, JanError, NotFound, Unavailable
from jan.idempotency.ids import IdSource
from jan.storage.records import ConversationChanges, ConversationRecord, MessageRecord, milliseconds, now
from jan.storage.repositories import NOBODY, Store

# Messages stored at a time.
_BATCH = 200
_PREFIX = "import_"
_TIDIED_AT_ONCE = 100
# How old an id is that can't be of an import between its last two steps.
_NEW = timedelta(minutes=10)
#: An import that stored nothing for this long was given up: its server died.
GIVEN_UP_AFTER = timedelta(minutes=1)

Create = Callable[[ConversationRecord, IdSource], Awaitable[ConversationRecord]]


class Imports:
    """Stores copies of conversations, and removes what is left of copies that were not completed."""

    def __init__(self, store: Store, create: Create) -> None:
        self._store = store
        self._create = create

    async def store(
        self, conversation: ConversationRecord, messages: Sequence[MessageRecord], ids: IdSource
    ) -> ConversationRecord:
        """Store a conversation with its messages. Raises Unavailable, and the errors of ``create``; nothing is
        stored then."""
        marker = f"{_PREFIX}{conversation.id}"
        await self._mark(marker, ids)
        try:
            for start in range(0, len(messages), _BATCH):
                if start:
                    await self._store.conversations.update(NOBODY, marker, ConversationChanges(title=""))
                await self._insert(messages[start : start + _BATCH], ids)
            # Whoever removes the marker decides: this import, or somebody who tidies because it took too long.
            if not await self._store.archive.remove(ConversationRecord, marker):
                raise NotFound("The import was given up.")
            return await self._create(conversation, ids)
        except NotFound:
            raise Unavailable("The import took too long, and was given up. Send it again.") from None
        except Unavailable:
            raise  # the outcome is unknown
        except JanError:
            with suppress(JanError):
                await self._remove(conversation.id, marker)
            raise

    async def _mark(self, marker: str, ids: IdSource) -> None:
        try:
            await self._store.archive.insert(ConversationRecord, [ConversationRecord(id=marker, user_id=NOBODY)])
        except Conflict:
            if not ids.again:
                raise

    async def _insert(self, batch: Sequence[MessageRecord], ids: IdSource) -> None:
        if ids.again:
            stored = await self._store.archive.matching(MessageRecord, [message.id for message in batch])
            known = {message.id for message in stored}
            batch = [message for message in batch if message.id not in known]
        await self._store.archive.insert(MessageRecord, batch)

    async def _remove(self, conversation_id: str, marker: str) -> None:
        await self._store.messages.delete_orphans([conversation_id])
        await self._store.archive.remove(ConversationRecord, marker)


async def tidy(store: Store, before: datetime) -> int:
    """Remove the messages of imports that stored nothing since ``before``; return the number of imports."""
    page = await store.conversations.page(NOBODY, limit=_TIDIED_AT_ONCE)
    given_up = [marker for marker in page.items if marker.updated_at < before]
    for marker in given_up:
        if await store.archive.remove(ConversationRecord, marker.id):
            await store.messages.delete_orphans([marker.id.removeprefix(_PREFIX)])
    return len(given_up)


async def tidy_all(store: Store) -> int:
    """Remove messages whose conversation is not there, such as earlier versions left behind; return their number.

    Those of imports under way stay, and those of new conversations: one may be stored at this moment.
    """
    new = f"conv_{milliseconds(now() - _NEW):012x}"
    removed, after = 0, ""
    while ids := await store.messages.conversation_ids(after=after, limit=_TIDIED_AT_ONCE):
        after = ids[-1]
        known = await store.archive.matching(ConversationRecord, [*ids, *(f"{_PREFIX}{each}" for each in ids)])
        there = {record.id.removeprefix(_PREFIX) for record in known}
        if orphaned := [
            each for each in ids if each not in there and not (each.startswith("conv_") and each >= new)
        ]:
            removed += await store.messages.delete_orphans(orphaned)
    return removed
