"""Keep the texts of a request apart from the control tokens of a chat template.

A template joins its own control tokens and the texts of a request into one string. Before that, ``Marks`` breaks
every control token that a text of the request spells, with a character that no text of the request contains.
After it, ``SpecialTokens.split`` finds the unbroken ones, which are the template's. Everything between them is
plain text.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeVar

import msgspec

from jan.engine.prompts.spellings import Spellings
from jan.errors import InvalidRequest

#: What control tokens are that a text of a request spells: text, or control tokens.
ControlTokensOption = Literal["text", "allow"]

_Value = TypeVar("_Value")

#: Unicode's noncharacters (Unicode 16.0, section 23.7). They are valid in a string, and assigned to nothing.
NONCHARACTERS = "".join(
    map(chr, (*range(0xFDD0, 0xFDF0), *(plane << 16 | low for plane in range(17) for low in (0xFFFE, 0xFFFF))))
)
#: What ``isspace`` of C takes for whitespace.
ASCII_WHITESPACE = " \t\n\v\f\r"


class SpecialToken(msgspec.Struct, frozen=True):
    """A token that a tokenizer finds in a text before it looks at words.

    ``control``: only templates may spell it; False for marks like ``<think>``, which texts may contain too.
    ``lstrip``, ``rstrip``: the token takes in the whitespace on its left, or right.
    """

    id: int
    text: str
    control: bool
    lstrip: bool = False
    rstrip: bool = False


class MarkedPrompt(msgspec.Struct, frozen=True):
    """A rendered prompt. ``mark``: the character that breaks control tokens in the request's texts, or ''."""

    text: str
    mark: str = ""

    @property
    def plain(self) -> str:
        """The prompt without marks."""
        return self.text.replace(self.mark, "") if self.mark else self.text


class MarkedText(str):
    """A text with marks. It equals the text without them, so that templates can compare it with constants."""

    __slots__ = ("_unmarked",)
    _unmarked: str

    @staticmethod
    def of(marked: str, unmarked: str) -> "MarkedText":
        """Make the text from both of its forms."""
        text = MarkedText(marked)
        text._unmarked = unmarked
        return text

    def __eq__(self, other: object) -> bool:
        return self._unmarked == (other._unmarked if isinstance(other, MarkedText) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._unmarked)


class SpecialTokens:
    """The special tokens of a model, as texts spell them. Thread-safe.

    Usage::

        marks = special.marks_for(contents, tools)
        prompt = marks.prompt(template.render(contents=marks.mark(contents), tools=marks.mark(tools)))
        for part in special.split(prompt):
            ...  # the id of a special token, or text between two of them

    Args:
        tokens: of several that are spelled alike, the first counts.
        longest_first: see ``Spellings``.
        whitespace: what ``lstrip`` and ``rstrip`` take in; None: whatever Unicode takes for whitespace.
    """

    def __init__(
        self, tokens: Iterable[SpecialToken], *, longest_first: bool = False, whitespace: str | None = None
    ) -> None:
        self._tokens = {token.text: token for token in reversed(list(tokens)) if token.text}
        control = [text for text, token in self._tokens.items() if token.control]
        self._control = Spellings(control)
        self._all = Spellings(self._tokens, longest_first=longest_first)
        self._others = Spellings(self._tokens.keys() - control, longest_first=longest_first)
        self._whitespace = whitespace

    @property
    def tokens(self) -> list[SpecialToken]:
        """All of them, each spelling once."""
        return list(self._tokens.values())

    def marks_for(self, *values: object) -> "Marks":
        """Return the marks for texts of a request.

        Args:
            values: JSON values with all strings that will be marked.

        Raises:
            InvalidRequest: if the strings leave no character for marks, or a value is nested too deeply.
        """
        try:
            texts = [text for value in values for text in _strings(value)]
        except RecursionError:
            raise _nested_too_deeply() from None
        return Marks(self._control, _unused_character(texts))

    def split(self, prompt: MarkedPrompt) -> Iterator[int | str]:
        """Return the parts of a prompt in order: ids of special tokens, and the text between, without marks.

        A control token that a mark breaks is text. No part is empty, and no two texts follow each other.
        """
        mark = prompt.mark
        for part in self._split(self._all, prompt.text, mark):
            if isinstance(part, str) and mark and mark in part:
                yield from self._split(self._others, part.replace(mark, ""))
            else:
                yield part

    def _split(self, spellings: Spellings, text: str, mark: str = "") -> Iterator[int | str]:
        between, strip = "", False
        for spelled, part in spellings.split(text):
            # A token of one character can't be broken: its mark is before it.
            if not spelled or (mark and len(part) == 1 and between.endswith(mark)):
                between += part.lstrip(self._whitespace) if strip and not between else part
                continue
            token = self._tokens[part]
            if token.lstrip:
                between = between.rstrip(self._whitespace)
            if between:
                yield between
            yield token.id
            between, strip = "", token.rstrip
        if between:
            yield between


class Marks:
    """Marks for the texts of one request, made by ``SpecialTokens.marks_for``.

    ``character``: the mark. Templates, their filters and JSON must let it pass unchanged.
    """

    def __init__(self, control: Spellings, character: str) -> None:
        self._control = control
        self.character = character

    def mark(self, value: _Value) -> _Value:
        """Return a JSON value with marks in all of its strings, keys of objects included.

        Roles and other words that the request can only choose, and did not write, must not be marked: templates
        build control tokens from them. Raises InvalidRequest for a value that is nested too deeply.
        """
        try:
            marked: _Value = self._mark(value)
        except RecursionError:
            raise _nested_too_deeply() from None
        return marked

    def prompt(self, text: str) -> MarkedPrompt:
        """Return the prompt that was rendered from marked values."""
        return MarkedPrompt(text, self.character)

    def _mark(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._marked_text(value)
        if isinstance(value, dict):
            return {self._mark(key): self._mark(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._mark(item) for item in value]
        return value

    def _marked_text(self, text: str) -> str:
        if not text:
            return text
        parts, done = [], 0
        if self._control.may_follow_others(text):
            parts.append(self.character)
        for start in self._control.starts(text):
            if text[start] in self._control:  # nothing of it is left to break, so the mark is before it
                parts += text[done:start], self.character
                done = start
            parts += text[done : start + 1], self.character
            done = start + 1
        parts.append(text[done:])
        if self._control.may_go_on(text):
            parts.append(self.character)
        return MarkedText.of("".join(parts), text) if len(parts) > 1 else text


def _strings(value: object) -> Iterator[str]:
    """Return all strings of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(key)
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _unused_character(texts: list[str]) -> str:
    """Return a character that no text contains: a noncharacter, or else any."""
    for character in NONCHARACTERS:
        if not any(character in text for text in texts):
            return character
    used = set().union(*texts)
    for code in range(0x100000, 0x10FFFE):  # private use
        if chr(code) not in used:
            return chr(code)
    raise InvalidRequest("The messages leave no character that could mark control tokens.", param="messages")


def _nested_too_deeply() -> InvalidRequest:
    return InvalidRequest("The messages or tools are nested too deeply.", param="messages")
