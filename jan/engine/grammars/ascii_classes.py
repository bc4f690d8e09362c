r"""Give ``\d``, ``\w`` and ``\s`` their meaning in ECMA-262, which is also that of RE2: ASCII characters only.

llguidance's regular expressions know the digits and letters of all scripts. A small model then answers a
question for a phone number with digits of a script that nobody asked for.
"""

import re
from types import MappingProxyType

_MEMBERS = MappingProxyType({"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t-\r "})
_PIECE = re.compile(r"\\(?P<class>[dwsDWS])|\\.|(?P<open>\[\^?\]?)|(?P<close>\])|.", re.DOTALL)


def with_ascii_classes(regex: str) -> str:
    """Return a regular expression with these classes written out."""
    parts: list[str] = []
    depth = 0  # sets within sets
    for piece in _PIECE.finditer(regex):
        depth += bool(piece["open"]) - (bool(piece["close"]) and depth > 0)
        name = piece["class"]
        if name is None:
            parts.append(piece[0])
        elif name.isupper():
            parts.append(f"[^{_MEMBERS[name.lower()]}]")
        else:
            parts.append(_MEMBERS[name] if depth else f"[{_MEMBERS[name]}]")
    return "".join(parts)
