"""Finds tool calls in an answer while it streams, and tells them apart from its text."""

import re

from jan.engine.base import Delta, ToolCallFragment
from jan.engine.prompt import CALL_CLOSE, CALL_OPEN
from jan.engine.text import overlap

_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*"(?P<name>[^"\\]*)"\s*,\s*"(?:arguments|parameters)"\s*:\s*')


class ToolCallParser:
    """Text in, deltas out: text outside the tags as it is, calls as a name and argument fragments.

    The answer is constrained to this form while it is sampled, so what follows an opening tag is a call.
    ``must_call``: there is no text; otherwise there may be some before the first call.
    """

    def __init__(self, must_call: bool = False) -> None:
        self._must_call = must_call
        self._buffer = ""
        self._state = self._outside
        self._scanner = _JsonEnd()
        self.calls = 0

    def push(self, text: str) -> Delta:
        """Add text; returns what is certain by now."""
        self._buffer += text
        delta = Delta()
        while True:
            state = self._state
            delta = delta.merge(state())
            if self._state == state:
                return delta

    def flush(self) -> Delta:
        """The end of the answer: what looked like the beginning of a tag was just text, where text may be."""
        rest, self._buffer = self._buffer, ""
        is_text = self._state == self._outside and not self.calls and not self._must_call
        return Delta(text=rest) if is_text else Delta()

    @property
    def inside(self) -> bool:
        """Whether a call has begun and is not complete."""
        return self._state in (self._head, self._arguments)

    def _outside(self) -> Delta:
        if self.calls:
            self._buffer = self._buffer.lstrip()  # white space between calls says nothing
        before, tag, after = self._buffer.partition(CALL_OPEN)
        if tag:
            self._buffer, self._state = after, self._head
            return Delta(text=before)
        keep = overlap(before, CALL_OPEN)
        self._buffer = before[len(before) - keep :]
        return Delta(text=before[: len(before) - keep])

    def _head(self) -> Delta:
        head = _HEAD.match(self._buffer)
        if head is None or head.end() == len(self._buffer):
            return Delta()
        self._buffer, self._state = self._buffer[head.end() :], self._arguments
        self._scanner = _JsonEnd()
        self.calls += 1
        return Delta(tool_calls=(ToolCallFragment(index=self.calls - 1, name=head["name"]),))

    def _arguments(self) -> Delta:
        end = self._scanner.feed(self._buffer)
        fragment, self._buffer = self._buffer[:end], self._buffer[end:]
        if self._scanner.ended:
            self._state = self._tail
        if not fragment:
            return Delta()
        return Delta(tool_calls=(ToolCallFragment(index=self.calls - 1, arguments=fragment),))

    def _tail(self) -> Delta:
        _, tag, after = self._buffer.partition(CALL_CLOSE)
        if tag:
            self._buffer, self._state = after, self._outside
        return Delta()


class _JsonEnd:
    """Finds where one JSON object or array that arrives in pieces ends."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = self._escaped = False
        self.ended = False

    def feed(self, text: str) -> int:
        """How many characters of ``text`` belong to the value."""
        for at, character in enumerate(text):
            if self._in_string:
                self._in_string = self._escaped or character != '"'
                self._escaped = character == "\\" and not self._escaped
            elif character == '"':
                self._in_string = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if self._depth == 0:
                    self.ended = True
                    return at + 1
        return len(text)
