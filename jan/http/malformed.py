"""Says what is wrong with a body that is no JSON."""

import re

# Half of a pair of escapes: the pair's other half must follow (RFC 8259 7).
_HIGH_HALF = re.compile(rb"\\+u[dD][89abAB][0-9a-fA-F]{2}")
_TAIL = 32


def reason_of_malformed(said: str, data: bytes | bytearray) -> str:
    """Return the reason why ``data`` is no JSON. ``said``: the decoder's own words, which may be misleading."""
    if not data:
        return "it is empty"
    if "truncated" not in said:
        return said
    start = max(0, len(data) - _TAIL)
    for half in _HIGH_HALF.finditer(data, start):
        rest = bytes(data[half.end() :])
        escaped = (half.end() - half.start() - 5) % 2 == 1
        # The decoder asks for the whole other half before it looks at its first byte.
        if escaped and rest and not b"\\u".startswith(rest[:2]):
            return f"a surrogate pair has only its first half (byte {half.end() - 6})"
    return f"it ends too early (byte {len(data)})"
