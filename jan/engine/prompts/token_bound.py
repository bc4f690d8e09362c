"""A lower bound of the tokens of a text, counted in milliseconds, so that what can't fit is never tokenised."""

from collections.abc import Iterable

# Characters counted by one call, which holds Python's lock meanwhile.
_WINDOW = 1 << 16


class TokenBound:
    """The longest token that contains a byte, for each byte.

    A byte in a token of at most n bytes makes up at least 1/n of a token. So the sum over the bytes of a text is
    never more than its tokens.

    Args:
        pieces: the bytes of the tokens that a text can become.
        shrinks: a tokenizer's normaliser makes a text shorter by this factor at most; 0: nothing is known, and
            every text may be a single token.
    """

    def __init__(self, pieces: Iterable[bytes], shrinks: float = 1.0) -> None:
        longest = dict.fromkeys(range(256), 0)
        missing = set(longest)
        for piece in sorted(pieces, key=len, reverse=True):
            for byte in missing.intersection(piece):
                longest[byte] = len(piece)
            missing.difference_update(piece)
            if not missing:
                break
        lengths = sorted(set(longest.values()))
        # Bytes that count alike are counted together. Those of no token may be left out or joined to others, so
        # they count nothing.
        self._classes = bytes(lengths.index(longest[byte]) for byte in range(256))
        self._parts = [1 / (shrinks * length) if shrinks and length else 0.0 for length in lengths]

    def least(self, text: str, enough: int) -> int:
        """Return a number of tokens that the text has at least. More than ``enough`` are not counted exactly."""
        total = 0.0
        for at in range(0, len(text), _WINDOW):
            classes = text[at : at + _WINDOW].encode(errors="ignore").translate(self._classes)
            total += sum(part * classes.count(number) for number, part in enumerate(self._parts))
            if total > enough:
                break
        # Rounded down by more than the error of the sum.
        return max(int(total * (1 - 1e-9)), 1 if text else 0)
