"""Titles of conversations: the beginning of the first user message."""

import re
from contextlib import suppress

from jan.errors import JanError
from jan.schema.plain_text import cleaned
from jan.storage.records import MessageRecord
from jan.storage.repositories import Store

_TITLE_LENGTH = 60
# A title is made of the first user message among this many first messages.
_OPENING = 5
# Marks of Markdown (CommonMark 0.31). One beside a space or in a word is text: "2 * 3", "5*3*2". Underscores are
# kept, because people ask about __init__ more often than they write emphasis with them.
_EMPHASIS = re.compile(r"(?<![\w*])(\*\*?)(?!\s)(.{0,200}?[^\s*])\1(?!\w)")
_MARKS = (
    (re.compile(r"(?m)^ {0,3}(?:`{3,}|~{3,})[^\n`]*$"), ""),
    (re.compile(r"(?m)^(?: {0,3}(?:#{1,6}|>|[-*+])(?: |$))+"), ""),
    (re.compile(r"!?\[([^\[\]\n]{1,200})\]\([^()\s]{0,500}\)"), r"\1"),
    (re.compile(r"`([^`\n]{1,200})`"), r"\1"),
    (re.compile(r"(?<![\w~])~~(?!\s)(.{0,200}?[^\s~])~~(?!\w)"), r"\1"),
    (_EMPHASIS, r"\2"),
    (_EMPHASIS, r"\2"),  # the inner of two
)


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
    """Make a title of a message: its beginning without marks, cut between words; "" if it has no text."""
    beginning = _beginning(message)
    plain = beginning
    for mark, instead in _MARKS:
        plain = mark.sub(instead, plain)
    # A message of nothing but marks keeps them.
    text = " ".join(cleaned(plain).split()) or " ".join(cleaned(beginning).split())
    if len(text) <= _TITLE_LENGTH:
        return text
    words, _, _ = text[: _TITLE_LENGTH + 1].rpartition(" ")
    return (words or text[:_TITLE_LENGTH]).rstrip(".,;:!?-") + "…"


def may_be_made_of(title: str, message: MessageRecord) -> bool:
    """Tell if a title was made of a message, also by an older version, which kept the marks."""
    text = " ".join(cleaned(_beginning(message)).split())
    return title == title_of(message) or (title != "" and text.startswith(title.removesuffix("…")))


def _beginning(message: MessageRecord) -> str:
    if isinstance(message.content, str):
        text = message.content
    else:
        text = " ".join(str(part.get("text", "")) for part in message.content or ())
    # A title needs only the beginning, and splitting a whole document would take long.
    return text[: 20 * _TITLE_LENGTH]
