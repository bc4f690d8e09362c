"""Text that shows what it holds: without control, bidirectional and zero-width characters.

Such characters forge lines of a list, hide a part of a name, or steer the terminal that shows it (Unicode UTR 36,
UTS 39; CVE-2021-42574 for bidirectional text).
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

# First and last code points: controls, soft hyphen, joiners, fillers, marks and overrides of direction, line and
# paragraph separators, byte order mark, interlinear and musical controls, tags.
_UNSEEN = (
    (0x00, 0x1F),
    (0x7F, 0x9F),
    (0xAD, 0xAD),
    (0x34F, 0x34F),
    (0x61C, 0x61C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x2028, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFFB),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE007F),
)
# What steers a terminal or the direction of its text. Answers may have joiners: emoji and Persian need them.
_STEERING = ((0x00, 0x08), (0x0B, 0x1F), (0x7F, 0x9F), (0x2028, 0x202E), (0x2066, 0x2069))
_BREAKS = "\t\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def _every(ranges: Iterable[tuple[int, int]]) -> Iterable[int]:
    return (code for first, last in ranges for code in range(first, last + 1))


def _written(code: int) -> str:
    """Write a character as regular expressions of Python and ECMA-262 both read it."""
    return f"\\u{code:04x}" if code <= 0xFFFF else chr(code)


_CLASS = "".join(f"{_written(first)}-{_written(last)}" for first, last in _UNSEEN)
#: A name of visible text, as a regular expression. The lookahead refuses a line feed that ``$`` would overlook.
NAME = rf"^ *[^\s{_CLASS}][^{_CLASS}]*(?!\n)$"
#: The same, or nothing at all.
NAME_OR_NOTHING = rf"^(?: *[^\s{_CLASS}][^{_CLASS}]*)?(?!\n)$"
_SENTENCE = (
    "Must be visible text; allowed: no control, bidirectional or zero-width characters, and not only blanks."
)
#: What is said of a text that does not match, by regular expression.
SENTENCES: Mapping[str, str] = MappingProxyType({NAME: _SENTENCE, NAME_OR_NOTHING: _SENTENCE})

_REPLACED = MappingProxyType(dict.fromkeys(_every(_UNSEEN), _REPLACEMENT))
_TAMED = MappingProxyType(dict.fromkeys(_every(_STEERING), _REPLACEMENT))
_CLEANED = MappingProxyType({**dict.fromkeys(_every(_UNSEEN)), **{ord(character): " " for character in _BREAKS}})


def printable(text: str) -> str:
    """Return one field of a list for a terminal. A replacement character stands for each that would not show."""
    return text.translate(_REPLACED)


def tamed(text: str) -> str:
    """Return text for a terminal with its lines, tabs and joiners, but without what steers the terminal."""
    return text.translate(_TAMED)


def cleaned(text: str) -> str:
    """Return text without characters that do not show. Line breaks and tabs become blanks."""
    return text.translate(_CLEANED)
