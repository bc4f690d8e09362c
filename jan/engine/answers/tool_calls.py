"""Finds tool calls in an answer while it streams, and tells them apart from its text."""

from jan.engine.answers.text import overlap
from jan.engine.base import Delta, ToolCallFragment
from jan.engine.prompts.call_forms import form_of
from jan.engine.prompts.dialects import ToolFormat


class ToolCallParser:
    """Text in, deltas out: text as it is, calls as a name and argument fragments.

    An answer need not be constrained to the form: what only looks like the beginning of a call, or calls none of
    ``names``, comes out as text. ``must_call``: there is no text; otherwise there may be some before the first
    call. White space between calls says nothing.
    """

    def __init__(
        self, must_call: bool = False, *, tools: ToolFormat = "hermes", names: frozenset[str] = frozenset()
    ) -> None:
        self._must_call = must_call
        self._names = names
        self._form = form_of(tools)
        self._buffer = ""
        self._state = self._outside
        self._scanner = _JsonEnd()
        # What was read of a call's head as it was written, in case that it is none.
        self._mark = ""
        # Once there is text after a call, white space in it counts again.
        self._between = False
        self._said = False
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
        """The end of the answer: what looked like the beginning of a call was just text, where text may be."""
        rest, self._buffer = self._mark + self._buffer, ""
        is_text = self._state in (self._outside, self._head) and not self.calls and not self._must_call
        return Delta(text=rest) if is_text else Delta()

    @property
    def inside(self) -> bool:
        """Whether a call has begun and is not complete."""
        return self._state == self._arguments or (self._state == self._head and bool(self._mark))

    def _outside(self) -> Delta:
        """Text, up to the mark before a call. Where the form has none, a call is at the beginning or after
        another call."""
        if self._between:
            self._buffer = self._buffer.lstrip()
            self._between = not self._buffer
        mark = self._form.mark
        if not mark:
            return self._at_beginning()
        before, found, after = self._buffer.partition(mark)
        if found:
            self._buffer, self._mark, self._state = after, found, self._head
            return Delta(text=before)
        keep = overlap(before, mark)
        self._buffer = before[len(before) - keep :]
        return Delta(text=before[: len(before) - keep])

    def _at_beginning(self) -> Delta:
        if self._buffer and not self._said:
            self._state = self._head
            return Delta()
        text, self._buffer = self._buffer, ""
        return Delta(text=text)

    def _head(self) -> Delta:
        head = self._form.head.match(self._buffer)
        name = head[head.lastgroup or 0] if head else ""
        if head and name and (not self._names or name in self._names):
            self._buffer, self._mark, self._state = self._buffer[head.end() :], "", self._arguments
            self._scanner = _JsonEnd()
            self.calls += 1
            return Delta(tool_calls=(ToolCallFragment(index=self.calls - 1, name=name),))
        if head is None and self._form.head.may_become(self._buffer):
            return Delta()
        # No call: the mark was text, and what follows it is looked at anew.
        text, self._mark, self._state, self._said = self._mark, "", self._outside, True
        return Delta(text=text)

    def _arguments(self) -> Delta:
        end = self._scanner.feed(self._buffer)
        fragment, self._buffer = self._buffer[:end], self._buffer[end:]
        if self._scanner.ended:
            self._state = self._tail
        if not fragment:
            return Delta()
        return Delta(tool_calls=(ToolCallFragment(index=self.calls - 1, arguments=fragment),))

    def _tail(self) -> Delta:
        """What follows a call's arguments: the end of its form, and perhaps another call without a mark."""
        tail = self._form.tail.match(self._buffer)
        if tail is None and self._form.tail.may_become(self._buffer):
            return Delta()
        end = 0 if tail is None else tail.end()
        more = tail is not None and "more" in tail.re.groupindex and tail["more"] is not None
        self._buffer = self._buffer[end:]
        self._state, self._between, self._said = (self._head if more else self._outside), not more, False
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
