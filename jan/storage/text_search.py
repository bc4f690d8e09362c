"""Searches in the texts of messages and in titles: what is wanted, what was found, and the contract of stores.

Stores find candidates by runs of three characters (n-grams), which need no knowledge of words and languages. Each
candidate is then compared with its own text, so that no hit is wrong, whatever an index says.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Protocol

import msgspec

from jan.schema.stored_items import StoredParts, StoredText
from jan.storage.folded_text import FoldedText, fold, longest_grams_of
from jan.storage.records import ConversationRecord, MessageRecord, MessageRole

#: Of a longer message, only this many characters are searched.
SEARCHED_CHARACTERS = 100_000
#: At most this many messages are hits of one search, and at most this many candidates are read for them.
MOST_HITS, MOST_READ, MOST_READ_BYTES = 300, 1500, 16 * 1024 * 1024
_MOST_TERMS = 12
_MOST_GRAMS = 12
_TERM = re.compile(r'"([^"]*)"?|([^\s"]+)')
_BEFORE, _AFTER = 60, 180
# Each occurrence counts, up to this many; a whole word counts as much as all of them.
_COUNTED, _OCCURRENCE, _WHOLE_WORD, _TITLE = 5, 10, 50, 1000


class SnippetPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a snippet. ``hit``: it is what was searched for."""

    text: str
    hit: bool


class TextHit(msgspec.Struct, frozen=True, kw_only=True):
    """A title or a message that has all that was searched for. ``message_id``: None for a title."""

    conversation_id: str
    message_id: str | None = None
    role: MessageRole | None = None
    created_at: datetime
    score: int
    snippet: list[SnippetPart]

    @property
    def position(self) -> tuple[int, str]:
        """The sort key: the most relevant first, and among equals the newest."""
        return self.score, self.message_id or self.conversation_id


class Wanted:
    """The words and phrases of a query. A text that has all of them is a hit.

    ``words``: all words, folded. ``grams``: what an index is asked for.
    """

    def __init__(self, query: str) -> None:
        found = [(phrase or word).split() for phrase, word in _TERM.findall(fold(query))]
        terms = [term for term in found if term][:_MOST_TERMS]
        self.words = [word for term in terms for word in term]
        self.grams = _spread(sorted(set().union(*map(longest_grams_of, self.words))), _MOST_GRAMS)
        self._patterns = [re.compile(r"\s+".join(map(re.escape, term))) for term in terms]

    def hit_in_message(self, message: MessageRecord) -> TextHit | None:
        """Return the hit in a message; None if there is none."""
        found = self._hit(searched_text(message))
        if found is None:
            return None
        score, snippet = found
        return TextHit(
            conversation_id=message.conversation_id,
            message_id=message.id,
            role=message.role,
            created_at=message.created_at,
            score=score,
            snippet=snippet,
        )

    def hit_in_title(self, conversation: ConversationRecord) -> TextHit | None:
        """Return the hit in the title of a conversation; None if there is none."""
        found = self._hit(conversation.title)
        if found is None:
            return None
        score, snippet = found
        at = conversation.updated_at
        return TextHit(conversation_id=conversation.id, created_at=at, score=score + _TITLE, snippet=snippet)

    def _hit(self, text: str) -> tuple[int, list[SnippetPart]] | None:
        folded = fold(text)
        if not all(word in folded for word in self.words):
            return None
        places = [list(_first(pattern.finditer(folded))) for pattern in self._patterns]
        if not all(places):
            return None
        score = sum(_OCCURRENCE * len(each) + _WHOLE_WORD * _has_whole(folded, each) for each in places)
        return score, _snippet(FoldedText(text), max(places, key=_length)[0], self._patterns)


def searched_text(message: MessageRecord) -> str:
    """Return the text of a message that is searched: what was said, without reasoning, calls and results."""
    texts: list[str] = []
    for item in message.items:
        if isinstance(item, StoredText):
            texts.append(item.text)
        elif isinstance(item, StoredParts):
            texts += [part["text"] for part in item.parts if isinstance(part.get("text"), str)]
    return "\n".join(texts)[:SEARCHED_CHARACTERS]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The hits of a search, in any order. ``more``: others were not looked at. ``indexing``: old texts are being
    indexed, and some are not found yet."""

    hits: list[TextHit]
    more: bool
    indexing: bool


class TextSearch(Protocol):
    """The texts of all messages, as searches find them. An index follows the messages by itself."""

    async def find(self, user_id: str, wanted: Wanted) -> Found:
        """Return hits in the user's titles and messages, the newest ones if there are too many."""

    async def index_some(self) -> bool:
        """Index some of the texts that wait for it, in a short time. Returns True if others wait."""


class SearchEffort:
    """Counts what one search finds and reads, and says when it is enough.

    ``share``: the divisor of what a whole search may read.
    """

    def __init__(self, share: int = 1) -> None:
        self.hits: list[TextHit] = []
        self.more = False
        self._left, self._bytes_left = MOST_READ // share, MOST_READ_BYTES // share

    @property
    def ended(self) -> bool:
        """True if enough was found or read. Then there may be more."""
        self.more = len(self.hits) >= MOST_HITS or self._left <= 0 or self._bytes_left <= 0
        return self.more

    def look_at(self, message: MessageRecord, size: int, wanted: Wanted) -> None:
        """Look for a hit in a message of ``size`` bytes."""
        self._left -= 1
        self._bytes_left -= size
        if (hit := wanted.hit_in_message(message)) is not None:
            self.hits.append(hit)


def _first(matches: Iterator[re.Match[str]]) -> Iterator[tuple[int, int]]:
    return (match.span() for match, _ in zip(matches, range(_COUNTED), strict=False))


def _length(places: list[tuple[int, int]]) -> int:
    return places[0][1] - places[0][0]


def _has_whole(folded: str, places: list[tuple[int, int]]) -> bool:
    """Return True if one of the places is a whole word."""
    return any(
        not folded[max(0, start - 1) : start].isalnum() and not folded[end : end + 1].isalnum()
        for start, end in places
    )


def _spread(values: list[int], count: int) -> list[int]:
    """Return at most ``count`` of the values, from all over the list."""
    step = max(1, -(-len(values) // count))
    return values[::step]


def _snippet(text: FoldedText, first: tuple[int, int], patterns: list[re.Pattern[str]]) -> list[SnippetPart]:
    """Return the text around the first hit, with all hits in it marked."""
    begin, end = max(0, first[0] - _BEFORE), min(len(text.folded), first[1] + _AFTER)
    spans = sorted(m.span() for pattern in patterns for m in pattern.finditer(text.folded, begin, end))
    shown_from, shown_to = text.original(begin, end)
    parts: list[SnippetPart] = []
    done = shown_from
    for span in spans:
        start, stop = text.original(*span)
        if start < done:  # within a hit before it
            continue
        if start > done:
            parts.append(SnippetPart(text=text.text[done:start], hit=False))
        elif parts:  # right behind another hit
            parts[-1] = SnippetPart(text=parts[-1].text + text.text[start:stop], hit=True)
            done = stop
            continue
        parts.append(SnippetPart(text=text.text[start:stop], hit=True))
        done = stop
    if done < shown_to:
        parts.append(SnippetPart(text=text.text[done:shown_to], hit=False))
    return parts
