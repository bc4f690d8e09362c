"""Find tool calls in an answer while it streams, and separate them from its text."""

from jan.engine.answers.text import overlap
from jan.engine.base import Delta, ToolCallFragment
from jan.engine.prompts.call_forms import call_form_of
from jan.engine.prompts.dialects import ToolFormat


class ToolCallParser:
    """A state machine that turns text into deltas: text, or a call's name and fragments of its arguments.

    The answer need not be constrained by a grammar: text that only looks like the beginning of a call, or that
    calls none of ``names``, stays text. White space between calls is dropped.

    Args:
        must_call: the answer is calls only, without text.
        tools: the form of calls.
        names: the tools that may be called; empty: any.
    """

    def __init__(
        self, must_call: bool = False, *, tools: ToolFormat = "hermes", names: frozenset[str] = frozenset()
    ) -> None:
        self._must_call = must_call
        self._names = names
        self._form = call_form_of(tools)
        self._buffer = ""
        self._state = self._outside
        self._json_end = _JsonEndFinder()
        # The mark of the call that may have begun, to give it back as text if it is no call.
        self._mark = ""
        # True directly after a call, where white space is dropped.
        self._between = False
        # True once there is text, after which a call without a mark is text too.
        self._has_text = False
        self.calls = 0

    def push(self, text: str) -> Delta:
        """Add text; returns the text and the parts of calls that are certain now."""
        self._buffer += text
        delta = Delta()
        while True:
            state = self._state
            delta = delta.merge(state())
            if self._state == state:
                return delta

    def flush(self) -> Delta:
        """End the answer; returns text that looked like the beginning of a call and was none."""
        rest, self._buffer = self._mark + self._buffer, ""
        is_text = self._state in (self._outside, self._head) and not self.calls and not self._must_call
        return Delta(text=rest) if is_text else Delta()

    @property
    def inside(self) -> bool:
        """True if a call has begun and is not complete."""
        return self._state == self._arguments or (self._state == self._head and bool(self._mark))

    def _outside(self) -> Delta:
        """Read text up to the mark before a call.

        In a form without a mark, a call is at the beginning of the answer or directly after another call.
        """
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
        if self._buffer and not self._has_text:
            self._state = self._head
            return Delta()
        text, self._buffer = self._buffer, ""
        return Delta(text=text)

    def _head(self) -> Delta:
        head = self._form.head.match(self._buffer)
        name = head[head.lastgroup or 0] if head else ""
        if head and name and (not self._names or name in self._names):
            self._buffer, self._mark, self._state = self._buffer[head.end() :], "", self._arguments
            self._json_end = _JsonEndFinder()
            self.calls += 1
            return Delta(tool_calls=(ToolCallFragment(index=self.calls - 1, name=name),))
        if head is None and self._form.head.may_become(self._buffer):
            return Delta()
        # No call: the mark was text, and the text after it is read again.
        text, self._mark, self._state, self._has_text = self._mark, "", self._outside, True
        return Delta(text=text)

    def _arguments(self) -> Delta:
        end = self._json_end.feed(self._buffer)
        fragment, self._buffer = self._buffer[:end], self._buffer[end:]
        if self._json_end.ended:
            self._state = self._tail
        if not fragment:
            return Delta()
        return Delta(tool_calls=(ToolCallFragment(index=self.calls - 1, arguments=fragment),))

    def _tail(self) -> Delta:
        """Read the end of a call's form after the arguments; another call may follow without a mark."""
        tail = self._form.tail.match(self._buffer)
        if tail is None and self._form.tail.may_become(self._buffer):
            return Delta()
        end = 0 if tail is None else tail.end()
        more = tail is not None and "more" in tail.re.groupindex and tail["more"] is not None
        self._buffer = self._buffer[end:]
        self._state, self._between, self._has_text = (self._head if more else self._outside), not more, False
        return Delta()


class _JsonEndFinder:
    """Finds the end of a JSON object or array that arrives in pieces."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = self._escaped = False
        self.ended = False

    def feed(self, text: str) -> int:
        """Return how many characters of ``text`` belong to the value."""
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
