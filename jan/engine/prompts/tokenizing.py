"""From a prompt's text to token ids, in time proportional to the text, and never longer than the context needs."""

import re
from collections.abc import Callable, Iterable, Iterator

from jan.engine.prompts.segments import MarkedPrompt, SpecialTokens
from jan.engine.prompts.token_bound import TokenBound

# Characters of a slice.
_SLICE = 1 << 15
# Every known tokenizer begins a new word at a single space between two letters.
_BORDER = re.compile("(?<=[A-Za-z]) (?=[A-Za-z])")
_ACROSS_BORDER = re.compile(rb"[A-Za-z] ")
_SAMPLES = ("alpha beta", "The cat", "x y")
# A prompt that exceeds its room by at most this many tokens is counted to its end.
_COUNTED_BEYOND = 4096

#: Returns the token ids of a text without special tokens. The second argument is True at the prompt's beginning.
PlainTokenizer = Callable[[str, bool], list[int]]


class PromptTooLong(Exception):
    """A prompt has more tokens than there is room for. Its text is their number, or a lower bound, in words."""

    def __init__(self, tokens: int, *, exact: bool) -> None:
        super().__init__(f"{'' if exact else 'at least '}{tokens}")


class PromptTokenizer:
    """Tokenises the prompts of a model. Thread-safe.

    The library tokenises only the text between special tokens, in slices. llama.cpp's own search for special
    tokens takes quadratic time (ggml-org/llama.cpp issue 12724).

    Args:
        special: the special tokens that a prompt can spell.
        plain: tokenises the text between them.
        pieces: the bytes of all tokens that this text can become.
        shrinks: see ``TokenBound``.
    """

    def __init__(
        self, special: SpecialTokens, plain: PlainTokenizer, pieces: list[bytes], *, shrinks: float = 1.0
    ) -> None:
        self.special = special
        self._plain = plain
        self._bound = TokenBound(pieces, shrinks)
        self._cut = _cut_of(plain, pieces)

    def tokens(self, prompt: MarkedPrompt, room: int) -> list[int]:
        """Return the token ids of a prompt. Raises PromptTooLong if there are more than ``room``."""
        tokens: list[int] = []
        for more in self._encoded(prompt, self._fitting_parts(prompt, room)):
            tokens += more
            if len(tokens) > room + _COUNTED_BEYOND:
                raise PromptTooLong(len(tokens), exact=False)
        if len(tokens) > room:
            raise PromptTooLong(len(tokens), exact=True)
        return tokens

    def _fitting_parts(self, prompt: MarkedPrompt, room: int) -> list[int | str]:
        """Return the special tokens and the texts between them, unless that are too many tokens in any case."""
        # A bound that says more than the room: with one token of an answer, room + 1 is the context's length.
        parts, least, most = [], 0, room + 1
        for part in self.special.split(prompt):
            parts.append(part)
            least += 1 if isinstance(part, int) else self._bound.least(part, most - least)
            if least > most:
                raise PromptTooLong(least, exact=False)
        return parts

    def _encoded(self, prompt: MarkedPrompt, parts: list[int | str]) -> Iterator[list[int]]:
        """Return the token ids of the parts, piece by piece."""
        first = True
        for part in parts:
            if isinstance(part, int):
                yield [part]
            else:
                for text in _slices(part, self._cut):
                    yield self._plain(text, first)
                    first = False
            first = False


def _cut_of(plain: PlainTokenizer, pieces: Iterable[bytes]) -> int | None:
    """Return how many characters are left out at a border between slices, so that their tokens are the whole's.

    A tokenizer that begins every text with a space has that of the border already. None: texts can't be cut.
    """
    if _ACROSS_BORDER.search(b"\xff".join(pieces)):
        return None
    for cut in (0, 1):
        halves = ((text, *text.split(" ")) for text in _SAMPLES)
        if all(plain(text, True) == plain(one, True) + plain(" "[cut:] + two, False) for text, one, two in halves):
            return cut
    return None


def _slices(text: str, cut: int | None) -> Iterator[str]:
    """Return slices of a text, cut at borders."""
    begin, at = 0, _SLICE
    while cut is not None and at < len(text):
        border = _BORDER.search(text, at, at + _SLICE)
        if border is None:
            at += _SLICE
            continue
        yield text[begin : border.start()]
        begin = border.start() + cut
        at = begin + _SLICE
    yield text[begin:]
