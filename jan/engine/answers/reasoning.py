"""Separate a reasoning block at the beginning of an answer from the content after it."""

from typing import Literal

from jan.engine.answers.text import overlap
from jan.engine.prompts.dialects import THINK_CLOSE, THINK_OPEN, Dialect

_OPEN, _CLOSE = THINK_OPEN.encode(), THINK_CLOSE.encode()


class ReasoningSplitter:
    """Splits bytes into reasoning and content. White space beside the tags belongs to neither."""

    def __init__(self, dialect: Dialect) -> None:
        self._begins_inside = dialect.begins_inside
        self._buffer = b""
        self._state: Literal["opening", "leading", "thinking", "trailing", "content"]
        self._state = "opening" if dialect.reasoning else "content"

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
            self._open()
        if self._state == "leading":
            self._skip_space("thinking")
        reasoning = self._think() if self._state == "thinking" else b""
        if self._state == "trailing":
            self._skip_space("content")
        return reasoning, self._take() if self._state == "content" else b""

    def flush(self) -> tuple[bytes, bytes]:
        """Return the reasoning and the content that were held back, at the end of the answer."""
        inside, thinking, rest = self.inside, self._state == "thinking", self._take()
        if not inside:
            return b"", rest
        return rest.rstrip() if thinking else rest.strip(), b""

    def _open(self) -> None:
        """Skip the opening tag, if there is one. Some models write it although the prompt ends with it."""
        begun = self._buffer.lstrip()
        if begun.startswith(_OPEN):
            self._buffer, self._state = begun[len(_OPEN) :], "leading"
        elif not _OPEN.startswith(begun):
            self._state = "leading" if self._begins_inside else "content"

    def _skip_space(self, following: Literal["thinking", "content"]) -> None:
        self._buffer = self._buffer.lstrip()
        if self._buffer:
            self._state = following

    def _think(self) -> bytes:
        before, tag, after = self._buffer.partition(_CLOSE)
        if tag:
            self._buffer, self._state = after, "trailing"
            return before.rstrip()
        certain = before[: len(before) - overlap(before, _CLOSE)].rstrip()
        self._buffer = before[len(certain) :]
        return certain

    def _take(self) -> bytes:
        taken, self._buffer = self._buffer, b""
        return taken
