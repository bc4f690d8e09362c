"""Breaks a stream of text into lines of a terminal, between words."""

import unicodedata
from collections.abc import Callable

_JOINER = "\N{ZERO WIDTH JOINER}"
# Marks that begin no line (JIS X 4051).
_NO_BEGINNING = frozenset("、。，．・：；？！」』）】〕］｝〉》ー々")
_TAB = 8
_FENCES = ("```", "~~~")
# A fence is told from the first characters of its line.
_BEGINNING = 16


def cells(character: str) -> int:
    """Return how many cells of a terminal a character takes: 0 for one that combines with the one before it."""
    if " " <= character < "\x7f":
        return 1
    if character != "\ufffd" and unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


class WordWrap:
    """Places words on lines as they come. Code between fences stays as it is, so that it can be copied.

    ``width`` returns the cells of a line, which may change meanwhile.
    """

    def __init__(self, width: Callable[[], int]) -> None:
        self._width = width
        self._column = 0
        self._blanks = ""
        self._word = ""
        # True within a word that is longer than a line: it is left to the terminal where that breaks.
        self._in_long_word = False
        self._line = ""
        self._in_code = False

    def add(self, text: str) -> str:
        """Return what of the text can be shown. An unfinished word waits for its end."""
        return "".join(map(self._after, text))

    def end(self) -> str:
        """Return the text that still waits."""
        return self._placed() + self._blank_end()

    def _after(self, character: str) -> str:
        if character == "\n":
            return self._new_line()
        if len(self._line) < _BEGINNING:
            self._line += character
        if self._in_code:
            return character
        if character in " \t":
            shown = self._placed()
            self._blanks += character
            self._in_long_word = False
            return shown
        shown = self._placed() if self._may_break_before(character) else ""
        self._word += character
        if self._cells(self._word) >= self._width():
            shown += self._placed()
            self._in_long_word = True
        return shown

    def _new_line(self) -> str:
        shown = self.end() + "\n"
        if self._line.lstrip().startswith(_FENCES):
            self._in_code = not self._in_code
        self._column, self._line, self._in_long_word = 0, "", False
        return shown

    def _may_break_before(self, character: str) -> bool:
        """Scripts that are written without blanks, of wide characters, may break between any two of them."""
        if not self._word or not cells(character) or self._word[-1] == _JOINER:
            return False
        return (cells(character) == 2 or cells(self._word[-1]) == 2) and character not in _NO_BEGINNING

    def _placed(self) -> str:
        """Return the word with the blanks before it, or on a line of its own."""
        if not self._word:
            return ""
        word, self._word = self._word, ""
        width, taken = max(1, self._width()), self._cells(word)
        after = self._after_blanks()
        if self._column and after + taken > width and not self._in_long_word:
            self._blanks, self._column = "", 0
            shown = "\n" + word
        else:
            shown = self._blank_end() + word
        self._column += taken
        if self._column > width:
            self._column = self._column % width or width
        return shown

    def _after_blanks(self) -> int:
        column = self._column
        for blank in self._blanks:
            column += _TAB - column % _TAB if blank == "\t" else 1
        return column

    def _blank_end(self) -> str:
        self._column = self._after_blanks()
        blanks, self._blanks = self._blanks, ""
        return blanks

    @staticmethod
    def _cells(word: str) -> int:
        return sum(map(cells, word))
