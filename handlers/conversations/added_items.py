"""Items that a client adds to a conversation, read as messages."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from handlers.openai.responses.sent_items import messages_of, read_items
from jan.auth.encrypted_texts import TextsOfOwner
from jan.errors import InvalidRequest
from jan.schema.messages import Message

_FIELD = "items"


class AddedItems(msgspec.Struct, frozen=True):
    """The messages that items are. ``ignored``: paths of what is not kept."""

    messages: tuple[Message, ...]
    ignored: tuple[str, ...]


def read_added(items: Sequence[dict[str, Any]], texts: TextsOfOwner) -> AddedItems:
    """Return items as messages. ``texts``: the caller's encrypted texts.

    Raises InvalidRequest that names the wrong one.
    """
    read = read_items(items, texts, _FIELD)
    messages, _ = messages_of(read)
    return AddedItems(tuple(messages), read.ignored)


@contextmanager
def naming_items() -> Iterator[None]:
    """Let errors about messages name the field that they came in."""
    try:
        yield
    except InvalidRequest as error:
        error.message, error.param = f"{_FIELD}: {error.message}", _FIELD
        raise
