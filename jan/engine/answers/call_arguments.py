"""Read arguments that are no JSON, and write them as JSON: values between marks, keyword arguments, bare keys."""

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from jan.engine.answers.argument_types import properties_of, types_of, value_of
from jan.engine.answers.literals import literal_of
from jan.engine.answers.text import MarkFinder, overlap
from jan.engine.prompts.dialects.forms import ArgumentForm, CallForm

# Characters of a key. A longer one is no part of a call.
_LONGEST_KEY = 512


class _Arguments:
    """The parts that the readers below share: the state of a body, and the object that they write.

    The attributes are those of ``JsonArguments``.
    """

    def __init__(self, name: str, form: CallForm, *, started: bool) -> None:
        self.name = name
        self.started, self.failed, self.whole, self.ended = started, False, False, False
        self.rest = ""
        assert form.argument is not None  # all forms that are not JSON have one
        self._one: ArgumentForm = form.argument
        self._written = 0
        self._state = self._before_key

    def push(self, text: str) -> str:
        """Add text; returns the part of the arguments that is certain now."""
        self.rest += text
        certain = ""
        while not (self.ended or self.failed):
            state, rest = self._state, self.rest
            certain += state()
            if self._state == state and self.rest == rest:
                break
        return certain

    def _before_key(self) -> str:
        raise NotImplementedError

    def _begin(self, key: str) -> str:
        """Return how an argument begins, without its value."""
        self._written += 1
        return ("{" if self._written == 1 else ", ") + json.dumps(key, ensure_ascii=False) + ": "

    def _close(self) -> str:
        self.whole = self.ended = self.started = True
        return "}" if self._written else "{}"


class MarkedArguments(_Arguments):
    """Reads values between marks, such as ``<parameter=city>\\nUlm\\n</parameter>``.

    A value has the type that the tool's schema gives it. Without one it is text. Text streams; other values are
    read when they are complete.
    """

    def __init__(self, name: str, form: CallForm, schema: Mapping[str, Any] | None) -> None:
        super().__init__(name, form, started=True)
        self._schema, self._properties = schema, properties_of(schema, schema)
        # Keys may be quoted or not, whatever the form shows.
        self._key_begin, self._key_end = self._one.before_key.strip('"'), self._one.key_end.strip('"')
        self._value_begin, self._value_end = self._one.before_value.strip(), self._one.end.strip()
        ends = (self._value_end, *form.closers)
        self._next = MarkFinder((self._key_begin, *form.closers))
        self._end = MarkFinder((*ends, self._key_begin) if self._one.next_key_ends else ends)
        self._key = ""
        self._types: frozenset[str] = frozenset()
        self._value: list[str] = []

    def _before_key(self) -> str:
        """Skip to the next argument or to the end of the call."""
        _, mark, self.rest = self._next.split(self.rest)
        if mark == self._key_begin:
            self._state = self._read_key
        return self._close() if mark and mark != self._key_begin else ""

    def _read_key(self) -> str:
        key, found, after = self.rest.partition(self._key_end)
        if found:
            self.rest, self._key, self._state = after, key.strip().strip("\"'"), self._before_value
        elif len(self.rest) > _LONGEST_KEY:
            self._state = self._before_key
        return ""

    def _before_value(self) -> str:
        """Skip what stands between a key and its value."""
        begun = self.rest.lstrip() if self._value_begin else self.rest
        if begun.startswith(self._value_begin):
            self.rest, self._state = begun[len(self._value_begin) :], self._begin_value
        elif begun and not self._value_begin.startswith(begun):
            self._state = self._before_key
        return ""

    def _begin_value(self) -> str:
        if not self.rest:
            return ""
        self.rest = self.rest.removeprefix("\n") if self._one.trims else self.rest
        self._types = types_of(self._properties.get(self._key), self._schema)
        self._value, self._state = [], self._read_text if self._is_text else self._read_value
        return self._begin(self._key) + ('"' if self._is_text else "")

    @property
    def _is_text(self) -> bool:
        return not self._types - {"string"}

    def _read_text(self) -> str:
        before, mark, after = self._end.split(self.rest)
        line_break = before.endswith("\n") and self._one.trims
        text = before[:-1] if line_break else before
        self.rest = after if mark else before[len(text) :] + after
        return _escaped(text) + ('"' + self._ended_by(mark) if mark else "")

    def _read_value(self) -> str:
        before, mark, self.rest = self._end.split(self.rest)
        self._value.append(before)
        if not mark:
            return ""
        text = "".join(self._value)
        text = text.removesuffix("\n") if self._one.trims else text
        return _as_json(value_of(text, self._types)) + self._ended_by(mark)

    def _ended_by(self, mark: str) -> str:
        """Go on after a value, by the mark that ended it."""
        if mark not in (self._value_end, self._key_begin):
            return self._close()
        self._state = self._before_key if mark == self._value_end else self._read_key
        return ""


class LiteralArguments(_Arguments):
    """Reads ``key=value`` pairs of a Python call, or ``key:value`` pairs of an object with bare keys.

    A value is read when it is complete.
    """

    def __init__(self, name: str, form: CallForm, closing: str) -> None:
        # ``f(`` may still be text; it is a call once it has an argument.
        super().__init__(name, form, started=form.arguments == "compact")
        self._closing = closing
        self._end = _LiteralEnd(self._one.quote)
        self._key = ""
        self._value: list[str] = []

    def _before_key(self) -> str:
        self.rest = self.rest.lstrip(" \t\r\n,")
        if self.rest.startswith(self._closing):
            self.rest = self.rest[len(self._closing) :]
            return self._close()
        key, found, after = self.rest.partition(self._one.key_end)
        if found:
            self._key = key.strip().removeprefix(self._one.quote).removesuffix(self._one.quote).strip("\"'")
            self.failed = not self.started and not self._key.isidentifier()
            self.rest, self._state, self._value = after, self._read_value, []
            self._end = _LiteralEnd(self._one.quote)
        elif not self.started and _NO_KEY.search(self.rest):
            self.failed = True
        elif len(self.rest) > _LONGEST_KEY:
            return self._close()
        return ""

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
        return "" if self.failed else self._begin(self._key) + _as_json(value)


# What a key in a Python call never has.
_NO_KEY = re.compile(r"[^\w\s]")


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


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _escaped(text: str) -> str:
    """Return text as it stands between the quotes of JSON."""
    return json.dumps(text, ensure_ascii=False)[1:-1]
