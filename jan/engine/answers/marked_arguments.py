"""Read arguments whose values stand between marks, such as tags of XML."""

from collections.abc import Mapping
from typing import Any

from jan.engine.answers.argument_types import properties_of, types_of, value_of
from jan.engine.answers.call_arguments import ArgumentsReader, as_json, escaped
from jan.engine.answers.text import MarkFinder
from jan.engine.prompts.dialects.forms import CallForm


class MarkedArguments(ArgumentsReader):
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
        key = self._key_before(self._key_end)
        if key is not None:
            self._key, self._state = key.strip().strip("\"'"), self._before_value
        elif self._is_too_long:
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
        return escaped(text) + ('"' + self._ended_by(mark) if mark else "")

    def _read_value(self) -> str:
        before, mark, self.rest = self._end.split(self.rest)
        self._value.append(before)
        if not mark:
            return ""
        text = "".join(self._value)
        text = text.removesuffix("\n") if self._one.trims else text
        return as_json(value_of(text, self._types)) + self._ended_by(mark)

    def _ended_by(self, mark: str) -> str:
        """Go on after a value, by the mark that ended it."""
        if mark not in (self._value_end, self._key_begin):
            return self._close()
        self._state = self._before_key if mark == self._value_end else self._read_key
        return ""
