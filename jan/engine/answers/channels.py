"""Split an answer that is a row of messages in channels, as OpenAI's harmony format has them (gpt-oss)."""

import re
from typing import Literal

from jan.engine.answers.text import overlap

_MESSAGE = b"<|message|>"
_BEGINNINGS = (b"<|channel|>", b"<|start|>", b"to=")
_ENDS = (b"<|end|>", b"<|call|>", b"<|return|>", b"<|start|>", b"<|channel|>")
_END = re.compile(b"|".join(map(re.escape, _ENDS)))
_RECIPIENT = re.compile(rb"to=(?:functions\.)?([A-Za-z0-9_.-]{1,128})")
_FUNCTION = re.compile(rb"to=functions\.([A-Za-z0-9_-]{1,64})")

# Bytes before a message's text, with the mark between them. More of them are no header.
_LONGEST_HEADER = 400

_Kind = Literal["reasoning", "content", "call"]


class ChannelSplitter:
    """Splits the bytes of an answer into reasoning and content, by the channel of each message.

    ``analysis`` is reasoning, and so is what is said to any tool that is no function. A call of a function is
    content, in the one form that the reader of calls knows. Texts of several messages stand on lines of their own.

    Args:
        begins_inside: the prompt ends with the header of a message of reasoning.
    """

    def __init__(self, begins_inside: bool = False) -> None:
        self._buffer = b""
        self._kind: _Kind | None = "reasoning" if begins_inside else None
        self._written: set[_Kind] = set()
        self._fresh = True  # nothing of the message's text has been returned
        self._plain = False  # the answer has no messages
        self._began = begins_inside

    @property
    def inside(self) -> bool:
        """True if the next bytes may be reasoning, as far as is known."""
        return self._kind == "reasoning"

    @property
    def content_only(self) -> bool:
        """True if all following bytes are content."""
        return self._plain

    def push(self, data: bytes) -> tuple[bytes, bytes]:
        """Add bytes; returns the reasoning and the content that are certain now."""
        if self._kind and not self._fresh and not self._buffer and b"<" not in data:
            return (data, b"") if self._kind == "reasoning" else (b"", data)  # the usual case
        self._buffer += data
        reasoning, content = b"", b""
        while True:
            kind, piece = self._kind or "content", self._next()
            if piece is None:
                return reasoning, content
            if kind == "reasoning":
                reasoning += piece
            else:
                content += piece

    def flush(self) -> tuple[bytes, bytes]:
        """Return the reasoning and the content that were held back, at the end of the answer."""
        rest, self._buffer = self._buffer, b""
        if self._kind is None:
            return b"", b"" if self._began or b"<|" in rest else rest
        rest = self._separated(rest)
        return (rest, b"") if self._kind == "reasoning" else (b"", rest)

    def _next(self) -> bytes | None:
        """Take the next piece of the buffer; None if more is needed."""
        if self._plain or self._kind is not None:
            return self._text()
        return self._header()

    def _header(self) -> bytes | None:
        """Take a header up to the text of its message."""
        begun = self._buffer.lstrip()
        if not self._began:
            if not begun or any(mark.startswith(begun) for mark in _BEGINNINGS):
                return None
            self._began, self._plain = True, not begun.startswith(_BEGINNINGS)
            return b""
        at = self._buffer.find(_MESSAGE, 0, _LONGEST_HEADER)
        if at < 0:
            self._plain = len(self._buffer) >= _LONGEST_HEADER
            return b"" if self._plain else None
        header, after = self._buffer[:at], self._buffer[at + len(_MESSAGE) :]
        function, recipient = _FUNCTION.search(header), _RECIPIENT.search(header)
        self._buffer, self._fresh = after, True
        if function:
            self._kind = "call"
            return b"<|channel|>commentary to=functions." + function[1] + b" <|constrain|>json<|message|>"
        self._kind = "reasoning" if recipient or b"analysis" in header else "content"
        return b""

    def _text(self) -> bytes | None:
        if self._plain:
            taken, self._buffer = self._buffer, b""
            return taken or None
        end = _END.search(self._buffer)
        if end is None:
            keep = max(overlap(self._buffer, mark) for mark in _ENDS)
            taken = self._buffer[: len(self._buffer) - keep]
            self._buffer = self._buffer[len(taken) :]
            return self._separated(taken) or None
        taken = self._separated(self._buffer[: end.start()])
        opens = end[0] in (b"<|start|>", b"<|channel|>")
        self._buffer = self._buffer[end.start() if opens else end.end() :]
        is_call, self._kind = self._kind == "call", None
        if not is_call:
            return taken
        return taken + (b"{}<|call|>" if self._fresh else b"<|call|>")  # no text is no arguments

    def _separated(self, text: bytes) -> bytes:
        """Return text of the present message, on a line of its own if there was one of its kind before."""
        kind = self._kind
        if kind == "call":
            self._fresh = self._fresh and not text.strip()
            return text
        if not text or kind is None or not self._fresh:
            return text
        before, self._fresh = kind in self._written, False
        self._written.add(kind)
        return b"\n" + text if before else text
