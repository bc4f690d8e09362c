"""Measures JSON text before it is decoded. A decoder keeps Python's lock to its end, so that nothing else runs.

Its time grows with the objects, arrays and names in the JSON, hardly with the length of strings and lists of
numbers.
"""

from collections.abc import Iterator
from itertools import accumulate

_BRACKETS = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(set(range(256)) - set(b"{}[]"))
# Maps "[" to +1 and "]" to -1.
_STEP = (ord("[") + 1).__sub__
# Between two slices another thread may run.
_SLICE = 1 << 16


def members_at_most(text: bytes | bytearray) -> int:
    """Return an upper bound of the objects, arrays and names in JSON text. Counts those in strings too."""
    return text.count(b":") + text.count(b"[") + text.count(b"{")


def has_more_members(text: bytes | bytearray, most: int) -> bool:
    """Return True if JSON text has more than ``most`` objects, arrays and names together.

    For text that is not JSON either result is possible.
    """
    if members_at_most(text) <= most:
        return False
    found = 0
    for outside in _outside_strings(text):
        found += members_at_most(outside)
        if found > most:
            return True
    return False


def nested_deeper(text: bytes | bytearray, levels: int) -> bool:
    """Return True if JSON text nests more than ``levels`` arrays and objects.

    Uses no recursion, and no Python step for each byte. For text that is not JSON either result is possible.
    """
    if text.count(b"[") + text.count(b"{") <= levels:
        return False
    left = b"".join(outside.translate(_BRACKETS, _OTHERS) for outside in _outside_strings(text))
    # Removing the innermost pairs lowers the nesting by one level, and usually shortens the text a lot.
    for height in range(levels + 1):
        if not left:
            return False
        before, left = left, left.replace(b"[]", b"")
        if 2 * len(left) > len(before):
            return _highest(left, height + 1, levels)
    return True


def lines_in_pieces(text: bytes | bytearray, size: int) -> Iterator[bytes]:
    """Cut text into pieces of whole lines. A piece has at most ``size`` bytes, or one line."""
    start = 0
    while start < len(text):
        end = text.rfind(b"\n", start, start + size) + 1 if start + size < len(text) else len(text)
        end = end or text.find(b"\n", start) + 1 or len(text)
        yield bytes(text[start:end])
        start = end


def _outside_strings(text: bytes | bytearray) -> Iterator[bytes]:
    """Yield the parts of JSON text that are in no string, in slices."""
    start, inside = 0, False
    while start < len(text):
        piece = bytes(text[start : start + _SLICE])
        if (len(piece) - len(piece.rstrip(b"\\"))) % 2:  # not between a backslash and what it escapes
            piece = bytes(text[start : start + len(piece) + 1])
        start += len(piece)
        parts = piece.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')
        yield b"".join(parts[inside::2])
        inside ^= len(parts) % 2 == 0


def _highest(brackets: bytes, level: int, levels: int) -> bool:
    """Return True if brackets that begin at ``level`` nest deeper than ``levels``."""
    for start in range(0, len(brackets), _SLICE):
        path = list(accumulate(map(_STEP, brackets[start : start + _SLICE]), initial=level))
        if max(path) > levels:
            return True
        level = path[-1]
    return False
