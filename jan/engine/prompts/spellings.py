"""Find many words in a text, in time proportional to the text and without holding Python's lock for long."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import groupby, takewhile

# Most characters that one call of the library searches, because it holds Python's lock meanwhile.
_WINDOW = 1 << 14


def longest_of(words: list[str]) -> str:
    """Return a regular expression for the longest of some words that a text begins with.

    It is a tree of common beginnings: of plain alternatives, the library would try thousands one by one.

    Args:
        words: sorted, at least one, without duplicates.
    """
    shared = takewhile(lambda pair: pair[0] == pair[1], zip(words[0], words[-1], strict=False))
    prefix = "".join(character for character, _ in shared)
    rest = [word[len(prefix) :] for word in words]
    branches = [longest_of(list(group)) for first, group in groupby(rest, key=lambda word: word[:1]) if first]
    if not branches:
        return re.escape(prefix)
    return f"{re.escape(prefix)}(?:{'|'.join(branches)}){'' if rest[0] else '?'}"


class Spellings:
    """A fixed set of words to be found in texts. Thread-safe.

    Args:
        words: none of them empty.
        longest_first: where found words overlap, the longest one counts, as in llama.cpp. Otherwise the first one
            counts, and of those that begin together the longest, as in Hugging Face's tokenizers.
    """

    def __init__(self, words: Iterable[str], *, longest_first: bool = False) -> None:
        self._words = frozenset(words)
        found = sorted(self._words)
        self._longest = max(map(len, found), default=0)
        self._anywhere = re.compile(f"(?={longest_of(found)})") if found else None
        tiers = [found] if found else []
        if longest_first and _order_matters(found):
            tiers = [list(group) for _, group in groupby(sorted(found, key=_by_length), key=len)]
        self._tiers = [re.compile(longest_of(sorted(tier))) for tier in tiers]
        self._joined = "\0" + "".join(word + "\0" for word in found)
        self._first = {word[0] for word in found}
        self._last = {word[-1] for word in found}

    def __contains__(self, word: str) -> bool:
        return word in self._words

    def split(self, text: str) -> Iterator[tuple[bool, str]]:
        """Return the parts of a text in order: words, with True, and what is between them. No part is empty."""
        return self._split(text, 0)

    def _split(self, text: str, tier: int) -> Iterator[tuple[bool, str]]:
        if tier == len(self._tiers):
            yield False, text
            return
        done = 0
        for match in self._matches(self._tiers[tier], text):
            if done < match.start():
                yield from self._split(text[done : match.start()], tier + 1)
            yield True, match[0]
            done = match.end()
        if done < len(text):
            yield from self._split(text[done:] if done else text, tier + 1)

    def _matches(self, pattern: re.Pattern[str], text: str) -> "Iterator[re.Match[str]]":
        """Return the matches from left to right, not overlapping."""
        at, window_end = 0, _WINDOW
        while at < len(text):
            # Beyond the window, so that a word which begins in it is found whole.
            match = pattern.search(text, at, window_end + self._longest)
            if match is None or match.start() >= window_end:
                at, window_end = window_end, window_end + _WINDOW
                continue
            yield match
            at = match.end()
            window_end = max(window_end, at + 1)

    def starts(self, text: str) -> Iterator[int]:
        """Return all positions where a word begins, also those within other words."""
        if self._anywhere is None:
            return
        for at in range(0, len(text), _WINDOW):
            for match in self._anywhere.finditer(text, at, at + _WINDOW + self._longest):
                if match.start() < at + _WINDOW:
                    yield match.start()

    def may_follow_others(self, text: str) -> bool:
        """Return True if a text before ``text`` may begin a word that ends in ``text``, or goes on after it."""
        return (len(text) < self._longest and text in self._joined) or any(
            text[: at + 1] + "\0" in self._joined
            for last in self._last
            for at in _positions(text[: self._longest - 1], last)
        )

    def may_go_on(self, text: str) -> bool:
        """Return True if a word may begin in ``text`` and end in a text after it."""
        end = text[1 - self._longest :] if self._longest > 1 else ""
        return any("\0" + end[at:] in self._joined for first in self._first for at in _positions(end, first))


def _positions(text: str, character: str) -> Iterator[int]:
    at = text.find(character)
    while at >= 0:
        yield at
        at = text.find(character, at + 1)


def _by_length(word: str) -> int:
    return -len(word)


def _order_matters(words: list[str]) -> bool:
    """Return True if a word can overlap the beginning of a longer one in a text where nothing longer begins first.

    Only then the longest word differs from the first one.
    """
    following: dict[str, list[str]] = defaultdict(list)
    for word in words:
        for end in range(1, len(word)):
            following[word[:end]].append(word)
    if not words:
        return False
    longest = re.compile(longest_of(words))
    for word in words:
        for start in range(1, len(word)):
            for longer in following.get(word[start:], ()):
                if len(longer) > len(word):
                    match = longest.match(word + longer[len(word) - start :])
                    if match is not None and match[0] == word:
                        return True
    return False
