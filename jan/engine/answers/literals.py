"""Read the literals in which models write arguments: Python's, JSON's, and objects with bare keys."""

import re
import sys
from typing import Any

_MAX_DEPTH = 64
_SPACE = re.compile(r"\s*")
_WORD = re.compile(r"[^\s,:(){}\[\]'\"]+")
_INTEGER, _FLOAT = re.compile(r"[-+]?\d{1,400}"), re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_CONSTANTS = {"None": None, "null": None, "True": True, "true": True, "False": False, "false": False}
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0", "\n": ""}
_CLOSING = {"[": "]", "(": ")", "{": "}"}


def literal_of(text: str, quote: str = "") -> Any:
    """Return the value of a literal, as JSON has it. Tuples and sets become lists.

    Args:
        text: the literal.
        quote: what strings stand between, besides the quotes of Python. Then keys and texts may be bare.

    Raises:
        ValueError: if it is no literal.
    """
    reader = _LiteralReader(text, quote)
    value = reader.value(0)
    if reader.space() != len(text):
        raise ValueError("There is text after the literal.")
    return value


class _LiteralReader:
    """Reads one literal from the left to the right."""

    def __init__(self, text: str, quote: str) -> None:
        self._text, self._quote = text, quote
        self._at = 0

    def space(self) -> int:
        """Skip white space; returns the place after it."""
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._at

    def value(self, depth: int) -> Any:
        """Read the value at this place."""
        if depth > _MAX_DEPTH:
            raise ValueError("The literal is nested too deeply.")
        begin = self._text[self.space() : self._at + 1]
        if self._quote and self._text.startswith(self._quote, self._at):
            return self._quoted(self._quote)
        if begin in ("'", '"') and not self._quote:
            return self._string(begin)
        if begin in _CLOSING and begin:
            self._at += 1
            return self._items(begin, depth + 1)
        return self._bare() if self._quote else self._word()

    def _quoted(self, quote: str) -> str:
        begin = self._at + len(quote)
        end = self._text.find(quote, begin)
        if end < 0:
            raise ValueError("A string does not end.")
        self._at = end + len(quote)
        return self._text[begin:end]

    def _string(self, quote: str) -> str:
        end = quote * 3 if self._text.startswith(quote * 3, self._at) else quote
        found = re.compile(rf"{end}((?:[^\\]|\\.)*?){end}", re.DOTALL).match(self._text, self._at)
        if found is None:
            raise ValueError("A string does not end.")
        self._at = found.end()
        return whole_characters(_ESCAPE.sub(_unescaped, found[1]))

    def _items(self, opening: str, depth: int) -> Any:
        """Read the items of a list or an object after its bracket."""
        items: list[Any] = []
        pairs: dict[str, Any] = {}
        while self._text[self.space() : self._at + 1] != _CLOSING[opening]:
            item = self._key() if opening == "{" and self._quote else self.value(depth)
            if opening == "{" and self._text[self.space() : self._at + 1] == ":":
                self._at += 1
                pairs[str(item)] = self.value(depth)
            else:
                items.append(item)
            if self._text[self.space() : self._at + 1] == ",":
                self._at += 1
            elif self._text[self._at : self._at + 1] != _CLOSING[opening]:
                raise ValueError("A list does not end.")
        self._at += 1
        return pairs if opening == "{" and not items else [*items, *pairs]

    def _key(self) -> str:
        if self._text.startswith(self._quote, self._at):
            return self._quoted(self._quote)
        end = self._text.find(":", self._at)
        if end < 0:
            raise ValueError("A key has no value.")
        key, self._at = self._text[self._at : end].strip(), end
        return key.strip("\"'")

    def _bare(self) -> Any:
        """Read a number, a word or a text without quotes, up to the next comma or bracket."""
        found = re.compile(r"[^,{}\[\]]*").match(self._text, self._at)
        word = found[0].strip() if found else ""
        self._at = found.end() if found else self._at
        try:
            return _scalar(word)
        except ValueError:
            return word

    def _word(self) -> Any:
        found = _WORD.match(self._text, self._at)
        if found is None:
            raise ValueError("A value is missing.")
        self._at = found.end()
        return _scalar(found[0])


def whole_characters(text: str) -> str:
    """Return a text whose escapes may have been halves of characters: pairs joined, single halves as U+FFFD.

    A single half (a lone surrogate) can't be encoded, so nothing could send it.
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def number_of(text: str) -> float:
    """Return a number; one that is too large for 64 bits becomes the largest that JSON readers take."""
    return max(-sys.float_info.max, min(sys.float_info.max, float(text)))


def _scalar(word: str) -> Any:
    if word in _CONSTANTS:
        return _CONSTANTS[word]
    if _INTEGER.fullmatch(word):
        return int(word)
    if _FLOAT.fullmatch(word):
        return number_of(word)
    raise ValueError("A word is no literal.")


def _unescaped(escape: "re.Match[str]") -> str:
    code = escape[1]
    if len(code) > 1:
        return chr(int(code[1:], 16))
    return _ESCAPED.get(code, code if code in "\\'\"/" else escape[0])
