"""Titles of conversations: the beginning of the first user message."""

from contextlib import suppress

from jan.errors import JanError
from jan.schema.plain_text import cleaned
from jan.storage.records import MessageRecord
from jan.storage.repositories import Store

_TITLE_LENGTH = 60
# A title is made of the first user message among this many first messages.
_OPENING = 5


async def give_title(store: Store, user_id: str, conversation_id: str) -> None:
    """Give a conversation without a title one. If that can't be done now, it stays without."""
    # Its messages are durable: a failure here must not make it look as if they were not.
    with suppress(JanError):
        # From what is stored, not from what was appended just now, so that simultaneous writers agree.
        opening = await store.messages.page(user_id, conversation_id, limit=_OPENING)
        titles = (title_of(message) for message in opening.items if message.role == "user")
        if title := next(filter(None, titles), ""):
            await store.conversations.give_title(user_id, conversation_id, title)


def title_of(message: MessageRecord) -> str:
    """Make a title of the beginning of a message's text, cut between words; "" if it has no text."""
    if isinstance(message.content, str):
        text = message.content
    else:
        text = " ".join(str(part.get("text", "")) for part in message.content or ())
    # A title needs only the beginning, and splitting a whole document would take long.
    text = " ".join(cleaned(text[: 20 * _TITLE_LENGTH]).split())
    if len(text) <= _TITLE_LENGTH:
        return text
    beginning, _, _ = text[: _TITLE_LENGTH + 1].rpartition(" ")
    return (beginning or text[:_TITLE_LENGTH]).rstrip(".,;:!?-") + "…"
