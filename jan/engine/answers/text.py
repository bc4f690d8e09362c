"""Turn token bytes into text that may be sent: whole characters only, and never a stop string."""

import codecs
import re
from collections import deque
from typing import AnyStr

from jan.schema.sampling import TokenLogprob


class TextAssembler:
    """Collects the bytes of one answer and releases text that can't change any more.

    Text is held back while it may be the beginning of a stop string, and bytes while they are an unfinished UTF-8
    sequence. The log probabilities of held-back tokens are held back too, so that a stop string does not leak
    through them either. With ``include_stop``, the stop string is part of the text.
    """

    __slots__ = (
        "_decoder",
        "_held",
        "_include_stop",
        "_logprobs",
        "_stop",
        "_unfinished",
        "stop_string",
        "stopped",
    )

    def __init__(self, stop: tuple[str, ...] = (), *, include_stop: bool = False) -> None:
        self._stop = stop
        self._include_stop = include_stop
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._unfinished = False  # True while the last character is incomplete
        self._held = ""
        self._logprobs: deque[TokenLogprob] = deque()
        self.stopped = False
        #: The stop string that ended the text.
        self.stop_string = ""

    def push(self, data: bytes, logprob: TokenLogprob | None = None) -> tuple[str, tuple[TokenLogprob, ...]]:
        """Add a token's bytes; returns the text and the log probabilities that may be sent now."""
        if logprob is not None:
            self._logprobs.append(logprob)
        text = self.decode(data)
        if self._stop:
            return self._emit(self._held + text)
        return text, self._release(not self._unfinished) if self._logprobs else ()

    def flush(self) -> tuple[str, tuple[TokenLogprob, ...]]:
        """Return the text and the log probabilities that were held back, at the end of the answer."""
        if self.stopped:
            return "", ()
        text, self._held = self._held + self._decoder.decode(b"", final=True), ""
        return text, self._release(True)

    def _emit(self, text: str) -> tuple[str, tuple[TokenLogprob, ...]]:
        # The first that is complete, as if each character came alone.
        found = [(at + len(stop), at, stop) for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            _, at, stop = min(found)
            self.stop_string = stop
            if self._include_stop:
                return text[: at + len(stop)], self._release(True)
            self._logprobs.clear()
            return text[:at], ()
        keep = max(overlap(text, stop) for stop in self._stop)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep], self._release(keep == 0 and not self._unfinished)

    def decode(self, data: bytes) -> str:
        """Return the characters that these bytes complete."""
        if not self._unfinished:
            try:
                return data.decode()  # the usual case, and several times as fast as the decoder
            except UnicodeDecodeError:
                self._unfinished = True
        text = self._decoder.decode(data)
        self._unfinished = bool(self._decoder.getstate()[0])
        return text

    def _release(self, everything: bool) -> tuple[TokenLogprob, ...]:
        if not everything or not self._logprobs:
            return ()
        released = tuple(self._logprobs)
        self._logprobs.clear()
        return released


class MarkFinder:
    """Finds the first of several marks in text that arrives in pieces."""

    def __init__(self, marks: tuple[str, ...]) -> None:
        self._marks = marks
        self._any = re.compile("|".join(map(re.escape, sorted(marks, key=len, reverse=True)))) if marks else None

    def split(self, text: str) -> tuple[str, str, str]:
        """Return the text before the first mark, the mark, and the rest.

        Without a mark: the text that can't be part of one, '', and an end that may become a mark.
        """
        if self._any is None:
            return text, "", ""
        found = self._any.search(text)
        if found:
            return text[: found.start()], found[0], text[found.end() :]
        keep = max(overlap(text, mark) for mark in self._marks)
        return text[: len(text) - keep], "", text[len(text) - keep :]


def overlap(text: AnyStr, stop: AnyStr) -> int:
    """Return the length of the longest proper prefix of ``stop`` that ``text`` ends with."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
