"""Recognise the head of a tool call, from its mark to its arguments, in text that arrives in pieces."""

import re
from collections.abc import Iterator
from functools import cache

# The names that tools may have.
_NAME = "(?P<name_{0}>[A-Za-z0-9_-]{{{1},64}})"
_LITERAL = re.compile("~(.*?)~", re.DOTALL)


class HeadPattern:
    """A regular expression for text that arrives in pieces.

    In ``expression``, ``~text~`` is literal, a space stands for at most 32 characters of white space, and ``NAME``
    for the name of a tool. The rest is Python's ``re``.
    """

    def __init__(self, expression: str) -> None:
        self._whole = re.compile(_written(expression, cut=False))
        self._beginning = re.compile(_written(expression, cut=True) + r"\Z")

    def match(self, text: str, at: int = 0) -> "re.Match[str] | None":
        """Return the match that begins at a place of ``text``."""
        return self._whole.match(text, at)

    def all_in(self, text: str) -> "Iterator[re.Match[str]]":
        """Yield the matches anywhere in ``text``."""
        return self._whole.finditer(text)

    def may_become(self, text: str) -> bool:
        """Return True if more text could complete a match."""
        return self._beginning.match(text) is not None


def name_in(head: "re.Match[str]") -> str:
    """Return the tool's name in a head, '' if the head has none."""
    return next((name for name in head.groups() if name), "")


@cache
def head_pattern(expression: str) -> HeadPattern:
    """Return the pattern of an expression, made once."""
    return HeadPattern(expression)


def _written(expression: str, *, cut: bool) -> str:
    """Return the expression as ``re`` writes it. ``cut``: the end of the text may cut it off anywhere."""
    parts, names = [], 0
    for index, part in enumerate(_LITERAL.split(expression)):
        if index % 2:
            parts.append(_cut(part) if cut else re.escape(part))
            continue
        for between in re.split("(NAME)", part):
            names += between == "NAME"
            named = _NAME.format(names, 0 if cut else 1)
            parts.append(named if between == "NAME" else between.replace(" ", r"\s{0,32}"))
    # What only has to follow a head may have arrived in part.
    written = "".join(parts)
    return written.replace("(?=", "(?:") if cut else written


def _cut(literal: str) -> str:
    """Return the expression for a literal that the end of the text may cut off."""
    return "".join(rf"(?:{re.escape(character)}|\Z)" for character in literal)
