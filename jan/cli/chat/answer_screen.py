"""Shows an answer while it is made: words, reasoning, and the place in the queue."""

import shutil
import sys
import time
from collections.abc import Iterable
from typing import Literal

from jan.cli.chat.answer_reader import AnswerPart
from jan.cli.chat.word_wrap import WordWrap
from jan.cli.terminal import on_terminal, say

ReasoningView = Literal["show", "fold", "hide"]


class StatusLine:
    """A line on a terminal that is replaced, and gone when text comes. Elsewhere it shows nothing."""

    def __init__(self) -> None:
        self._on = on_terminal(sys.stderr)
        self._shown = ""

    def show(self, text: str) -> None:
        """Show this instead of what is shown."""
        if self._on and text != self._shown:
            text = text[: _width() - 1]
            say(text.ljust(len(self._shown)), err=True, nl=False, redraw=True, faint=True)
            self._shown = text

    def clear(self) -> None:
        """Remove what is shown."""
        if self._shown:
            say(" " * len(self._shown), err=True, nl=False, redraw=True)
            say(err=True, nl=False, redraw=True)
            self._shown = ""


class AnswerScreen:
    """Prints one answer. Without a terminal it prints the text alone, as it comes."""

    def __init__(self, reasoning: ReasoningView) -> None:
        self._terminal = on_terminal(sys.stdout)
        self._reasoning: ReasoningView = reasoning if self._terminal else "hide"
        self._status = StatusLine()
        self._wrap = WordWrap(_width)
        self._thought_since: float | None = None
        self._answering = False
        # The cursor is behind something in its line.
        self._in_line = False
        self.finish_reason = ""

    def show(self, parts: Iterable[AnswerPart]) -> None:
        """Print an answer to its end."""
        self._status.show("waiting ...")
        for part in parts:
            self._part(part)
            self.finish_reason = part.finish_reason or self.finish_reason
        self.end()
        if self.finish_reason == "length":
            say("(The answer ended at its limit of tokens.)", err=True, faint=True)

    def end(self) -> None:
        """Print what is left, and end the line."""
        self._fold()
        self._print(self._wrap.end())
        if self._in_line:
            self._print("\n")

    def _part(self, part: AnswerPart) -> None:
        if part.note:
            self._note(part.note)
        if part.queued:
            self._status.show(f"in the queue: {part.queued}")
        if part.reasoning:
            self._reason(part.reasoning)
        if part.text:
            self._answer(part.text)

    def _note(self, note: str) -> None:
        """Print a note on a line of its own. On a terminal the answer goes on below it."""
        if self._terminal:
            self._print(self._wrap.end())
            if self._in_line:
                self._print("\n")
            self._wrap = WordWrap(_width)
        self._status.clear()
        say(note, err=True, faint=True)

    def _reason(self, text: str) -> None:
        if self._thought_since is None:
            self._thought_since = time.monotonic()
        if self._reasoning == "show":
            self._print(self._wrap.add(text), faint=True)
        else:
            self._status.show(f"thinking, {self._thought_seconds()} s")

    def _thought_seconds(self) -> int:
        return 0 if self._thought_since is None else int(time.monotonic() - self._thought_since)

    def _answer(self, text: str) -> None:
        if not self._answering:
            text = text.lstrip("\n") if self._terminal else text
            if not text:
                return
            self._answering = True
            self._fold()
        self._print(self._wrap.add(text) if self._terminal else text)

    def _fold(self) -> None:
        """End the reasoning, if there is any."""
        self._status.clear()
        if self._thought_since is None:
            return
        if self._reasoning == "show":
            self._print(self._wrap.end(), faint=True)
            if self._in_line:
                self._print("\n")
            self._print("\n")
        elif self._reasoning == "fold":
            say(f"(Thought for {self._thought_seconds()} s.)", faint=True)
        self._thought_since = None
        self._wrap = WordWrap(_width)

    def _print(self, text: str, *, faint: bool = False) -> None:
        if text:
            self._status.clear()
            self._in_line = not text.endswith("\n")
            say(text, nl=False, faint=faint)


def wrapped(text: str) -> str:
    """Return a whole text with its lines broken between words."""
    wrap = WordWrap(_width)
    return wrap.add(text) + wrap.end()


def _width() -> int:
    return shutil.get_terminal_size().columns
