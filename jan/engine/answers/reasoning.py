"""Separate a reasoning block at the beginning of an answer from the content after it."""

from typing import Literal, Protocol

from jan.engine.answers.channels import ChannelSplitter
from jan.engine.answers.text import overlap
from jan.engine.prompts.dialects import Dialect, ReasoningForm


class ReasoningSplitter(Protocol):
    """Splits the bytes of an answer into reasoning and content."""

    @property
    def inside(self) -> bool:
        """True if the next bytes may be reasoning, as far as is known."""
        ...

    @property
    def content_only(self) -> bool:
        """True if all following bytes are content."""
        ...

    def push(self, data: bytes) -> tuple[bytes, bytes]:
        """Add bytes; returns the reasoning and the content that are certain now."""
        ...

    def flush(self) -> tuple[bytes, bytes]:
        """Return the reasoning and the content that were held back, at the end of the answer."""
        ...


def splitter_of(dialect: Dialect) -> ReasoningSplitter:
    """Return the splitter for an answer in a dialect."""
    if dialect.thoughts is not None and dialect.thoughts.in_channels:
        return ChannelSplitter(dialect.begins_inside)
    return BlockSplitter(dialect.thoughts, dialect.begins_inside)


_State = Literal["opening", "leading", "thinking", "trailing", "unwrapping", "wrapped", "content"]


class BlockSplitter:
    """Splits off one block between marks. White space beside the marks belongs to neither part.

    Marks around the content are dropped, if the form has any.

    Args:
        form: the marks; None: all is content.
        begins_inside: the prompt has already opened the block.
    """

    def __init__(self, form: ReasoningForm | None, begins_inside: bool = False) -> None:
        self._begins_inside = begins_inside
        self._buffer = b""
        self._state: _State = "opening" if form else "content"
        form = form or ReasoningForm(open="", close="")
        self._open, self._close = form.open.strip().encode(), form.close.encode()
        self._content_open, self._content_close = form.content_open.encode(), form.content_close.encode()

    @property
    def inside(self) -> bool:
        """True if the next bytes may be reasoning, as far as is known."""
        return self._state in ("leading", "thinking") or (self._state == "opening" and self._begins_inside)

    @property
    def content_only(self) -> bool:
        """True if all following bytes are content."""
        return self._state == "content"

    def push(self, data: bytes) -> tuple[bytes, bytes]:
        """Add bytes; returns the reasoning and the content that are certain now."""
        self._buffer += data
        if self._state == "opening":
            self._skip_mark()
        if self._state == "leading":
            self._skip_space("thinking")
        reasoning = self._think() if self._state == "thinking" else b""
        if self._state == "trailing":
            self._skip_space("content")
        if self._state == "unwrapping":
            self._skip_space("wrapped")
        content = self._unwrap() if self._state == "wrapped" else b""
        return reasoning, content + self._take() if self._state == "content" else content

    def flush(self) -> tuple[bytes, bytes]:
        """Return the reasoning and the content that were held back, at the end of the answer."""
        inside, thinking, rest = self.inside, self._state == "thinking", self._take()
        if not inside:
            return b"", rest
        return rest.rstrip() if thinking else rest.strip(), b""

    def _skip_mark(self) -> None:
        """Skip the opening mark, if there is one. Some models write it although the prompt ends with it."""
        begun = self._buffer.lstrip()
        if begun.startswith(self._open):
            self._buffer, self._state = begun[len(self._open) :], "leading"
        elif not self._open.startswith(begun) and not self._skip_content_mark(begun):
            self._state = "leading" if self._begins_inside else "content"

    def _skip_content_mark(self, begun: bytes) -> bool:
        """Skip the mark before the content; returns True if it is there, or if more bytes must tell."""
        if not self._content_open or not begun:
            return False
        if begun.startswith(self._content_open):
            self._buffer, self._state = begun[len(self._content_open) :], "unwrapping"
            return True
        return self._content_open.startswith(begun)

    def _skip_space(self, following: Literal["thinking", "wrapped", "content"]) -> None:
        self._buffer = self._buffer.lstrip()
        if self._buffer and not (following == "content" and self._skip_content_mark(self._buffer)):
            self._state = following

    def _unwrap(self) -> bytes:
        """Take content up to the mark after it."""
        before, mark, after = self._buffer.partition(self._content_close)
        if mark:
            self._buffer, self._state = after, "content"
            return before.rstrip()
        certain = before[: len(before) - overlap(before, self._content_close)].rstrip()
        self._buffer = before[len(certain) :]
        return certain

    def _think(self) -> bytes:
        before, mark, after = self._buffer.partition(self._close)
        if mark:
            self._buffer, self._state = after, "trailing"
            return before.rstrip()
        certain = before[: len(before) - overlap(before, self._close)].rstrip()
        self._buffer = before[len(certain) :]
        return certain

    def _take(self) -> bytes:
        taken, self._buffer = self._buffer, b""
        return taken
