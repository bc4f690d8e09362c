"""Texts as they are compared in searches: without case, accents and compatibility variants of Unicode.

Letters that only look accented to others stay apart: the marks of Japanese, Thai and Indian scripts are kept.
"""

import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from zlib import crc32

# Longer texts are folded in pieces of about this many characters, so that places can be found again.
_PIECE = 512
_LONGEST_GRAM = 3
# Canonical combining classes (Unicode 4.3): points of Hebrew and Arabic, and marks above or below a letter.
_POINTS = range(10, 36)
_MARKS = 200
# Vowels and finals of Korean that are composed with the letter before them.
_KOREAN_FIRST, _KOREAN_LAST = "\u1160", "\u11ff"


def fold(text: str) -> str:
    """Return a text without case, accents and compatibility variants, for comparison."""
    if text.isascii():
        return text.lower().replace("\0", "")
    return "".join(map(_fold_piece, _pieces(text)))


def grams_of(folded: str) -> set[int]:
    """Return hashes of all runs of one, two and three characters in the words of a folded text."""
    runs: set[str] = set()
    for word in set(folded.split()):
        runs.update(runs_of(word))
    return set(map(hash_of, runs))


def runs_of(word: str) -> list[str]:
    """Return all runs of one, two and three characters in a folded word, some of them more than once."""
    return [
        word[start : start + length]
        for length in range(1, _LONGEST_GRAM + 1)
        for start in range(len(word) - length + 1)
    ]


def hash_of(run: str) -> int:
    """Return the hash of a run of characters that stands for it in an index."""
    return crc32(run.encode())


def longest_grams_of(word: str) -> set[int]:
    """Return hashes that every text with this folded word in it has, without those that follow from others."""
    length = min(len(word), _LONGEST_GRAM)
    return {hash_of(word[start : start + length]) for start in range(len(word) - length + 1)}


class FoldedText:
    """A folded text that knows where its characters were in the text that it is made of."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._plain = text.isascii() and "\0" not in text
        self._pieces = [text] if self._plain else list(_pieces(text))
        folded = [text.lower()] if self._plain else list(map(_fold_piece, self._pieces))
        self.folded = "".join(folded)
        self._starts = list(accumulate(map(len, self._pieces), initial=0))
        self._folded_starts = list(accumulate(map(len, folded), initial=0))

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Return where a range of the folded text, which is not empty, was in the text."""
        if self._plain:
            return start, end
        return self._letter_at(start)[0], self._letter_at(end - 1)[1]

    def _letter_at(self, place: int) -> tuple[int, int]:
        """Return the range of the letter, with its marks, that a folded character is made of."""
        piece = bisect_right(self._folded_starts, place) - 1
        begin, seen = self._starts[piece], self._folded_starts[piece]
        for letter in _letters(self._pieces[piece]):
            seen += len(_fold_piece(letter))
            if seen > place:
                return begin, begin + len(letter)
            begin += len(letter)
        return begin, begin


def _fold_piece(text: str) -> str:
    kept = [char for char in unicodedata.normalize("NFKD", text) if not _is_accent(char)]
    return unicodedata.normalize("NFC", "".join(kept).casefold()).replace("\0", "")


def _is_accent(char: str) -> bool:
    order = unicodedata.combining(char)
    return order >= _MARKS or order in _POINTS


def _continues(char: str) -> bool:
    """Return True if a character is a part of the letter before it."""
    return unicodedata.combining(char) > 0 or _KOREAN_FIRST <= char <= _KOREAN_LAST


def _pieces(text: str) -> Iterator[str]:
    """Yield the pieces of a text, which never end within a letter."""
    start = 0
    while start < len(text):
        end = min(start + _PIECE, len(text))
        while end < len(text) and _continues(text[end]):
            end += 1
        yield text[start:end]
        start = end


def _letters(piece: str) -> Iterator[str]:
    """Yield letters with the marks that follow them."""
    start = 0
    for end in range(1, len(piece) + 1):
        if end == len(piece) or not _continues(piece[end]):
            yield piece[start:end]
            start = end
