"""What a regular expression or a grammar would cost to compile, known from looking at it.

Compiling happens on the engine's thread. The library bounds what a token costs; what it does before the first one
grows with how much text the repetitions, and terminals made of terminals, stand for.
"""

import re
from collections.abc import Callable

# Measured: 0.14 s for the worst of this length, 0.05 s for a repetition of this size; 1,000,000 take 4 s.
_MAX_LENGTH = 10_000
_MAX_SIZE = 10_000
_MAX_DEPTH = 100
_HUGE = 1_000_000_000

_DEFINITION = re.compile(r"^[?!]?([A-Za-z_]\w*)(?:\[[^\]\n]*\])?(?:\.\d+)?[ \t]*:", re.MULTILINE)
# What would get past the limits: other kinds of grammars inside this one.
_INNER = re.compile(r"%(?:json|lark|llguidance|regex)\b")
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
    """Why a regular expression is too much to compile; '' if it is not."""
    return _too_long(regex) or _too_much(_measure(regex, _REGEX_TOKEN, lambda token: 1))


def grammar_too_costly(grammar: str) -> str:
    """Why a grammar is too much to compile; '' if it is not."""
    if inner := _INNER.search(grammar):
        return f"it has a {inner[0]} in it, which is not allowed here"
    return _too_long(grammar) or _too_much(_Terminals(grammar).size)


def _too_long(text: str) -> str:
    return f"it is more than {_MAX_LENGTH} characters long" if len(text) > _MAX_LENGTH else ""


def _too_much(size: int) -> str:
    if size <= _MAX_SIZE:
        return ""
    return f"with its repetitions written out it is longer than {_MAX_SIZE}, or nested more than {_MAX_DEPTH} deep"


class _Terminals:
    """A grammar's definitions. Terminals are written out where they are used, rules are not."""

    def __init__(self, grammar: str) -> None:
        starts = list(_DEFINITION.finditer(grammar))
        ends = [*(start.start() for start in starts[1:]), len(grammar)]
        self._bodies = {start[1]: grammar[start.end() : end] for start, end in zip(starts, ends, strict=False)}
        self._sizes: dict[str, int] = {}
        self._depth = 0

    @property
    def size(self) -> int:
        """Of all definitions together."""
        return sum(map(self._size_of, self._bodies))

    def _size_of(self, name: str) -> int:
        if name not in self._sizes:
            self._sizes[name] = 1  # where it goes in a circle, which the compiler refuses
            self._depth += 1
            deep = self._depth > _MAX_DEPTH
            self._sizes[name] = _HUGE if deep else _measure(self._bodies[name], _TOKEN, self._weight)
            self._depth -= 1
        return self._sizes[name]

    def _weight(self, token: "re.Match[str]") -> int:
        if token["string"]:
            return len(token["string"]) - 2
        if token["regex"]:
            return _measure(token["regex"][1:-1], _REGEX_TOKEN, lambda inner: 1)
        name = token["name"] or ""
        return self._size_of(name) if name.isupper() and name in self._bodies else 1


def _measure(text: str, tokens: "re.Pattern[str]", weigh: Callable[["re.Match[str]"], int]) -> int:
    """How long a text is with its repetitions written out; never more than _HUGE."""
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
            times = _times(token)
            groups[-1] += last * (times - 1)
            last *= times
        else:
            last = weigh(token)
            groups[-1] += last
    return min(sum(groups), _HUGE)


def _times(token: "re.Match[str]") -> int:
    # Not all digits: Python refuses to read more than some thousands.
    counts = (token["least"], token["most"], token["from"], token["to"])
    return max([1, *(int(count[:9]) for count in counts if count)])
