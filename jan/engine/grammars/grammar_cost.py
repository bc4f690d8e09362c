"""Estimate the cost of compiling a regular expression or a grammar, without compiling it.

The library limits the cost of each token, but not its work before the first one. That work grows with the length
of the text after all repetitions, and terminals inside terminals, are written out. This module computes that
length.
"""

import re
from collections.abc import Callable

# Measured: 0.14 s for the worst text of this length, and 0.05 s for a repetition of this size. 1,000,000 take 4 s.
_MAX_LENGTH = 10_000
_MAX_SIZE = 10_000
_MAX_DEPTH = 100
_HUGE = 1_000_000_000

_DEFINITION = re.compile(r"^[?!]?([A-Za-z_]\w*)(?:\[[^\]\n]*\])?(?:\.\d+)?[ \t]*:", re.MULTILINE)
# Other kinds of grammars inside this one would bypass the limits. In strings, comments and regular expressions,
# these words are text.
_INNER = re.compile(
    r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/(?:\\.|[^/\\\n])+/|(?P<inner>%(?:json|lark|llguidance|regex)\b)'
)
_REPEAT = r"\{\s*(?P<least>\d*)\s*(?:,\s*(?P<most>\d*)\s*)?\}"
_TOKEN = re.compile(
    r'(?P<string>"(?:\\.|[^"\\\n])*")|//[^\n]*|(?P<regex>/(?:\\.|[^/\\\n])+/)|(?P<name>[A-Za-z_]\w*)'
    rf"|(?P<repeat>{_REPEAT}|~\s*(?P<from>\d+)(?:\s*\.\.\s*(?P<to>\d+))?)|(?P<open>[(\[])|(?P<close>[)\]])"
)
_REGEX_TOKEN = re.compile(
    r"(?P<string>\[\^?\]?(?:\\.|[^\]\\])*\]|\\[pPx]\{[^}]*\})"
    rf"|(?P<repeat>{_REPEAT}(?P<from>)(?P<to>))|(?P<open>\()|(?P<close>\))|\\.|.",
    re.DOTALL,
)


def regex_too_costly(regex: str) -> str:
    """Return why a regular expression is too costly to compile, '' if it is not."""
    return text_too_long(regex) or _too_large(_written_out(regex, _REGEX_TOKEN, lambda token: 1))


def grammar_too_costly(grammar: str) -> str:
    """Return why a grammar is too costly to compile, '' if it is not."""
    if inner := next((found["inner"] for found in _INNER.finditer(grammar) if found["inner"]), ""):
        return f"it contains {inner}, which is not allowed"
    return text_too_long(grammar) or _too_large(_Terminals(grammar).size)


def text_too_long(text: str) -> str:
    """Return why a regular expression or grammar is too long, '' if it is not."""
    return f"it is more than {_MAX_LENGTH} characters long" if len(text) > _MAX_LENGTH else ""


def _too_large(size: int) -> str:
    if size <= _MAX_SIZE:
        return ""
    return f"with its repetitions written out it is longer than {_MAX_SIZE}, or nested more than {_MAX_DEPTH} deep"


class _Terminals:
    """A grammar's definitions. The compiler writes out terminals where they are used, and rules not."""

    def __init__(self, grammar: str) -> None:
        starts = list(_DEFINITION.finditer(grammar))
        ends = [*(start.start() for start in starts[1:]), len(grammar)]
        self._bodies = {start[1]: grammar[start.end() : end] for start, end in zip(starts, ends, strict=False)}
        self._sizes: dict[str, int] = {}
        self._depth = 0

    @property
    def size(self) -> int:
        """Length of all definitions together, written out."""
        return sum(map(self._size_of, self._bodies))

    def _size_of(self, name: str) -> int:
        if name not in self._sizes:
            self._sizes[name] = 1  # for circular definitions, which the compiler refuses
            self._depth += 1
            deep = self._depth > _MAX_DEPTH
            self._sizes[name] = _HUGE if deep else _written_out(self._bodies[name], _TOKEN, self._weight)
            self._depth -= 1
        return self._sizes[name]

    def _weight(self, token: "re.Match[str]") -> int:
        if token["string"]:
            return len(token["string"]) - 2
        if token["regex"]:
            return _written_out(token["regex"][1:-1], _REGEX_TOKEN, lambda inner: 1)
        name = token["name"] or ""
        return self._size_of(name) if name.isupper() and name in self._bodies else 1


def _written_out(text: str, tokens: "re.Pattern[str]", weigh: Callable[["re.Match[str]"], int]) -> int:
    """Return the length of a text with its repetitions written out, at most _HUGE."""
    groups, last = [0], 0
    for token in tokens.finditer(text):
        if token["open"]:
            groups.append(0)
            if len(groups) > _MAX_DEPTH:
                return _HUGE
        elif token["close"]:
            last = groups.pop() if len(groups) > 1 else 0
            groups[-1] += last
        elif token["repeat"]:
            times = _repetitions(token)
            groups[-1] += last * (times - 1)
            last *= times
        else:
            last = weigh(token)
            groups[-1] += last
    return min(sum(groups), _HUGE)


def _repetitions(token: "re.Match[str]") -> int:
    # Nine digits are enough, and Python refuses to convert several thousand.
    counts = (token["least"], token["most"], token["from"], token["to"])
    return max([1, *(int(count[:9]) for count in counts if count)])
