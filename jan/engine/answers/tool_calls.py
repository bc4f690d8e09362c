"""Find tool calls in an answer while it streams, and separate them from its text."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from jan.engine.answers.call_json import JsonArguments, JsonCall
from jan.engine.answers.literal_arguments import LiteralArguments
from jan.engine.answers.marked_arguments import MarkedArguments
from jan.engine.answers.text import MarkFinder
from jan.engine.base import Delta, ToolCallFragment
from jan.engine.prompts.dialects.forms import CallForm
from jan.engine.prompts.dialects.heads import head_pattern, name_in
from jan.schema.tools import Tool

# Characters that are read again if what looked like a call is none.
_MOST_REREAD = 4096


class CallBody(Protocol):
    """Reads one call after its head. ``JsonArguments`` says what the attributes mean."""

    name: str
    started: bool
    failed: bool
    whole: bool
    ended: bool
    rest: str

    def push(self, text: str) -> str:
        """Add text; returns the part of the arguments that is certain now, as JSON."""
        ...


class ToolCallReader:
    """A state machine that turns text into deltas: text, or a call's name and fragments of its arguments.

    The answer need not be constrained by a grammar: text that only looks like the beginning of a call, or that
    calls none of the tools, stays text. White space between calls is dropped.

    Args:
        form: how calls are written.
        tools: the tools that may be called; none: any.
        must_call: the answer is calls only, without text.
    """

    def __init__(self, form: CallForm, tools: Sequence[Tool] = (), must_call: bool = False) -> None:
        self._form = form
        self._must_call = must_call
        self._schemas: Mapping[str, Any] = {tool.function.name: tool.function.parameters for tool in tools}
        self._marks = MarkFinder(form.marks)
        self._buffer = ""
        self._state = self._outside
        self._head = head_pattern(form.head)
        # The mark that the head begins with, to give it back as text if there is no call.
        self._mark = ""
        self._body: CallBody = JsonCall(self._callable)
        # What a call that is not certain yet was written as, from its mark on.
        self._raw: list[str] = []
        self._shown = False  # the call's name has been returned
        # True directly after a call, where white space, closers and separators are dropped.
        self._between = False
        self._separated = True  # another call may follow without a mark
        # True once there is text, after which a call without a mark is text too.
        self._has_text = False
        self.calls = 0

    def push(self, text: str) -> Delta:
        """Add text; returns the text and the parts of calls that are certain now."""
        self._buffer += text
        deltas = []
        while True:
            state = self._state
            deltas.append(state())
            if self._state == state:
                return deltas[0] if len(deltas) == 1 else Delta.sum(deltas)

    def flush(self) -> Delta:
        """End the answer; returns text that looked like the beginning of a call and was none."""
        rest, self._buffer = "".join(self._raw) + self._buffer, ""
        is_text = not self._shown and not self.calls and not self._must_call
        return Delta(text=rest) if is_text else Delta()

    @property
    def inside(self) -> bool:
        """True if the last call that was returned is not complete."""
        return self._shown and self._state == self._arguments and not self._body.whole

    def _outside(self) -> Delta:
        """Read text up to the mark of a call."""
        if self._between:
            return self._after_call()
        if not self._has_text and self._form.bare_head:
            bare = head_pattern(self._form.bare_head)
            if not self._buffer or bare.may_become(self._buffer) or bare.match(self._buffer):
                return self._begin(bare, "") if self._buffer else Delta()
        before, mark, rest = self._marks.split(self._buffer)
        self._has_text = self._has_text or bool(before.strip())
        self._buffer = mark + rest
        if mark:
            self._begin(head_pattern(self._form.head), mark)
        return Delta(text=before)

    def _begin(self, head: Any, mark: str) -> Delta:
        self._head, self._mark, self._state = head, mark, self._read_head
        return Delta()

    def _after_call(self) -> Delta:
        """Drop what may stand between calls, and look for a call that follows without a mark."""
        while skipped := self._skippable():
            self._buffer = self._buffer.lstrip()[len(skipped) :]
            self._separated = skipped not in self._form.closers[-1:]
        self._buffer = self._buffer.lstrip()
        if not self._buffer or any(closer.startswith(self._buffer) for closer in self._form.closers):
            return Delta()
        self._between = False
        if self._separated and self._form.next_head:
            return self._begin(head_pattern(self._form.next_head), "")
        return self._outside()

    def _skippable(self) -> str:
        """Return the closer or separator at the beginning of the buffer, '' if there is none."""
        begun = self._buffer.lstrip()
        marks = (*self._form.closers, *self._form.separators)
        return next((mark for mark in marks if begun.startswith(mark)), "")

    def _read_head(self) -> Delta:
        head = self._head.match(self._buffer)
        if head is None and self._head.may_become(self._buffer):
            return Delta()
        name = name_in(head) if head else ""
        if head is None or (name and not self._callable(name)):
            return self._give_back()
        self._body = self._body_of(name)
        self._raw, self._buffer = [head[0]], self._buffer[head.end() :]
        self._state, self._shown = self._arguments, False
        return Delta()

    def _body_of(self, name: str) -> CallBody:
        form, schema = self._form, self._schemas.get(name)
        if not name:
            return JsonCall(self._callable)
        if form.arguments == "json":
            return JsonArguments(name)
        if form.arguments == "marked":
            return MarkedArguments(name, form, schema)
        return LiteralArguments(name, form, ")" if form.arguments == "python" else "}", schema)

    def _callable(self, name: str) -> bool:
        return not self._schemas or name in self._schemas

    def _give_back(self, unread: str | None = None) -> Delta:
        """Read the mark of what looked like a call as text, and the rest again, which begins no call by itself.

        ``unread``: what is behind the place where it turned out to be no call. If that is far away, all up to
        there is text. Otherwise marks within marks would have the same text read again for each of them.
        """
        text, length = "".join(self._raw) + self._buffer, len(self._mark)
        if unread is not None and len(text) - len(unread) > _MOST_REREAD:
            length = len(text) - len(unread)
        self._raw, self._buffer = [], text[length:]
        self._mark, self._state, self._has_text = "", self._outside, True
        return Delta(text=text[:length])

    def _arguments(self) -> Delta:
        body, pushed = self._body, self._buffer
        self._buffer = ""
        certain = body.push(pushed)
        if not self._shown:
            self._raw.append(pushed)
            if body.failed:
                return self._give_back(body.rest)
        if body.ended:
            self._buffer, self._state = body.rest, self._outside
            self._between, self._separated, self._has_text, self._mark = True, True, False, ""
        return self._fragments(body, certain)

    def _fragments(self, body: CallBody, certain: str) -> Delta:
        """Return the call's name if it is certain and has not been returned, and the new part of its arguments."""
        if not body.started:
            return Delta()
        fragments = []
        if not self._shown:
            self._shown, self._raw = True, []
            self.calls += 1
            fragments.append(ToolCallFragment(index=self.calls - 1, name=body.name))
        if certain:
            fragments.append(ToolCallFragment(index=self.calls - 1, arguments=certain))
        return Delta(tool_calls=tuple(fragments))
