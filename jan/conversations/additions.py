"""Messages that are added to a conversation without being answered."""

from collections.abc import Sequence

import msgspec

from jan.conversations.opening import in_line, kept_form
from jan.idempotency.ids import IdSource
from jan.schema import messages as chat
from jan.storage.holdings import Amounts
from jan.storage.paging import size_of
from jan.storage.records import MessageRecord
from jan.tasks import apart


async def added_to(conversation_id: str, messages: Sequence[chat.Message], ids: IdSource) -> list[MessageRecord]:
    """Return messages as records with ids from ``ids``, each below the one before it. Raises InvalidRequest."""
    kept = await apart(len(messages), lambda: kept_form(messages, conversation_id))
    numbered = [msgspec.structs.replace(message, id=ids.new_id("msg")) for message in kept]
    return in_line(numbered, None)[0]


def amounts_with(messages: Sequence[MessageRecord]) -> Amounts:
    """Return what a conversation of these messages counts."""
    return Amounts(conversations=1, messages=len(messages), bytes=sum(map(size_of, messages)))
