"""Read arguments that are literals: keyword arguments of a Python call, or an object with bare keys."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from jan.engine.answers.argument_types import properties_of
from jan.engine.answers.call_arguments import ArgumentsReader, as_json, escaped
from jan.engine.answers.literals import literal_of
from jan.engine.answers.text import MarkFinder, overlap
from jan.engine.prompts.dialects.forms import CallForm

# A key, if the tool's schema does not name it. Before a call is certain, nothing else may stand there.
_KEY = re.compile(r"[\w.$-]+")
_NO_KEY = re.compile(r"[^\w\s.$\"'-]")


class LiteralArguments(ArgumentsReader):
    """Reads ``key=value`` pairs of a Python call, or ``key:value`` pairs of an object with bare keys.

    Text streams if the form has quotes of its own, which have no escapes. Other values are read when complete.

    Args:
        name, form: the tool's name, and how its call is written.
        closing: what ends the arguments.
        schema: that of the arguments.
    """

    def __init__(self, name: str, form: CallForm, closing: str, schema: Mapping[str, Any] | None) -> None:
        # ``f(`` may still be text; it is a call once it has an argument.
        super().__init__(name, form, started=form.arguments == "compact")
        self._closing = closing
        self._keys = frozenset(properties_of(schema, schema))
        # Names that are no words may stand before the first value.
        self._any_key = any(not _KEY.fullmatch(key) for key in self._keys)
        self._end = _LiteralEnd(self._one.quote)
        self._quotes = MarkFinder((self._one.quote,) if self._one.quote else ())
        self._key = ""
        self._value: list[str] = []

    def _before_key(self) -> str:
        self.rest = self.rest.lstrip(" \t\r\n,")
        if self.rest.startswith(self._closing):
            self.rest = self.rest[len(self._closing) :]
            return self._close()
        begun = self.rest
        key = self._key_before(self._one.key_end)
        if not self.started and not self._any_key and _NO_KEY.search(begun if key is None else key):
            self.failed = True
        elif key is not None:
            self._key = key.strip().removeprefix(self._one.quote).removesuffix(self._one.quote).strip("\"'")
            self.failed = not (self.started or self._key in self._keys or _KEY.fullmatch(self._key))
            self._state = self._begin_value
        elif self._is_too_long:
            return self._close()
        if self.failed:
            self.rest = begun  # as if the key had come in pieces
        return ""

    def _begin_value(self) -> str:
        quote, begun = self._one.quote, self.rest.lstrip()
        if quote and (not begun or (quote.startswith(begun) and begun != quote)):
            return ""
        if quote and begun.startswith(quote):
            self.rest, self._state = begun[len(quote) :], self._read_text
            return self._begin(self._key) + '"'
        self._value, self._end, self._state = [], _LiteralEnd(quote), self._read_value
        return ""

    def _read_text(self) -> str:
        text, mark, self.rest = self._quotes.split(self.rest)
        self._state = self._before_key if mark else self._state
        return escaped(text) + ('"' if mark else "")

    def _read_value(self) -> str:
        end = self._end.feed(self.rest)
        self._value.append(self.rest[:end])
        self.rest = self.rest[end:]
        if not self._end.found:
            return ""
        text = "".join(self._value).strip()
        try:
            value = literal_of(text, self._one.quote)
        except (ValueError, RecursionError):
            self.failed, value = not self.started, text
        self.started, self._state = not self.failed, self._before_key
        return "" if self.failed else self._begin(self._key) + as_json(value)


_QUOTES = ('"' * 3, "'" * 3, '"', "'")
_CUT_QUOTES = ('"', "'", '""', "''")  # which may become one of three characters
_INSIDE_STRINGS = MappingProxyType({quote: re.compile(rf"{quote}|\\") for quote in _QUOTES})


class _LiteralEnd:
    """Finds the end of a value in text that comes in pieces: a comma, or the closing bracket around it."""

    def __init__(self, quote: str) -> None:
        quotes = re.escape(quote) if quote else "|".join(_QUOTES)
        self._outside = re.compile(rf"{quotes}|[()\[\]{{}},]")
        # By the quote that began a string, what ends it or takes the next character's meaning.
        self._inside = {quote: re.compile(re.escape(quote))} if quote else _INSIDE_STRINGS
        self._quote = quote
        self._depth = 0
        self._string: str = ""  # the quote that ends the present string
        self._tail = ""  # the beginning of a quote of several characters
        self._escaped = False
        self.found = False

    def feed(self, text: str) -> int:
        """Return how many characters of ``text`` belong to the value."""
        at, before = 0, len(self._tail)
        text = self._tail + text
        while at < len(text):
            if self._escaped:
                self._escaped, at = False, at + 1
                continue
            mark = (self._inside[self._string] if self._string else self._outside).search(text, at)
            if mark is None:
                break
            if self._may_be_longer(mark):
                at = mark.start()
                break
            at = mark.end()
            if self._passes(mark[0]):
                self.found = True
                return mark.start() - before
        rest = text[at:]
        self._tail = (
            rest if rest in _CUT_QUOTES else rest[len(rest) - overlap(rest, self._string or self._quote) :]
        )
        return len(text) - before

    def _may_be_longer(self, mark: "re.Match[str]") -> bool:
        """Return True if a quote may become one of three characters, which begins a string of several lines."""
        return not self._string and not self._quote and mark.string[mark.start() :] in _CUT_QUOTES

    def _passes(self, mark: str) -> bool:
        """Pass a mark; returns True if it ends the value."""
        if self._string:
            self._escaped = mark == "\\"
            self._string = self._string if self._escaped else ""
        elif mark in "([{":
            self._depth += 1
        elif mark in ")]},":
            if self._depth == 0:
                return True
            self._depth -= mark != ","
        else:
            self._string = mark
        return False
