"""The forms in which models write a tool call: what stands before the name, before the arguments, and after."""

import re
from collections.abc import Callable
from functools import cache

import msgspec

from jan.engine.prompts.dialects import ARGS_MARK, CALL_CLOSE, CALL_OPEN, MISTRAL_MARK, PYTHON_MARK, ToolFormat

_Literal = Callable[[str], str]
_NAME = r'(?P<name>[^"\\]{0,64})'


class Pattern:
    """A pattern for text that arrives in pieces. ``write`` gives it, made of literals and of white space."""

    def __init__(self, write: Callable[[_Literal], str]) -> None:
        self._whole = re.compile(write(re.escape))
        self._beginning = re.compile(write(_cut) + r"\Z")

    def match(self, text: str) -> "re.Match[str] | None":
        """The match at the beginning of ``text``, whose last group is the name or what else it is about."""
        return self._whole.match(text)

    def may_become(self, text: str) -> bool:
        """Whether ``text`` is the beginning of a match."""
        return self._beginning.match(text) is not None


class CallForm(msgspec.Struct, frozen=True):
    """``mark`` stands before a call, or '' where only the head does. Group ``more`` of the tail: another head
    follows."""

    mark: str
    head: Pattern
    tail: Pattern


def _cut(literal: str) -> str:
    """A pattern for a literal that may be cut off by the end of the text."""
    return "".join(rf"(?:{re.escape(character)}|\Z)" for character in literal)


def _object(literal: _Literal, *arguments: str) -> str:
    """An object with a name, up to its arguments, which are an object or a list."""
    quote, keys = literal('"'), "|".join(literal(f'"{key}"') for key in arguments)
    parts = [literal("{"), literal('"name"'), literal(":"), quote + _NAME + quote, literal(",")]
    return r"\s*".join(["", *parts, f"(?:{keys})", literal(":"), _ahead(literal, r"[{\[]")])


def _ahead(literal: _Literal, wanted: str) -> str:
    """Looks at the next character, which may be yet to come."""
    return rf"(?={wanted}|\Z)" if literal is _cut else f"(?={wanted})"


def _listed(literal: _Literal) -> str:
    """Mistral's head of a call: an item of a list, or a name alone."""
    listed = rf"\s*(?:{literal('[')})?" + _object(literal, "arguments", "parameters")
    identified = rf"(?:{literal('[CALL_ID]')}[A-Za-z0-9_-]*)?"
    plain = rf"\s*(?P<plain>[A-Za-z0-9_-]{{1,64}}){identified}(?:{literal(ARGS_MARK)})?\s*{_ahead(literal, '[{]')}"
    return f"(?:{listed}|{plain})"


def _end_of_listed(literal: _Literal) -> str:
    identified = r"\s*".join([literal(","), literal('"id"'), literal(":"), r'"?[A-Za-z0-9_-]*"?'])
    return rf"\s*(?:{identified})?\s*{literal('}')}\s*(?:(?P<more>{literal(',')})|{literal(']')})"


def _end_of_bare(literal: _Literal) -> str:
    other = _ahead(literal, r"[^\s;]")
    return rf"\s*{literal('}')}\s*(?:(?P<more>{literal(';')})|{other})"


@cache
def form_of(tools: ToolFormat) -> CallForm:
    """The form of a dialect's calls."""
    if tools == "hermes":
        tagged = Pattern(lambda literal: _object(literal, "arguments", "parameters"))
        return CallForm(CALL_OPEN, tagged, Pattern(lambda lit: rf"\s*{lit('}')}\s*{lit(CALL_CLOSE)}"))
    if tools == "llama3":
        return CallForm("", Pattern(_bare), Pattern(_end_of_bare))
    # Both of Mistral's are read, whichever the template shows.
    return CallForm(MISTRAL_MARK, Pattern(_listed), Pattern(_end_of_listed))


def _bare(literal: _Literal) -> str:
    return rf"\s*(?:{literal(PYTHON_MARK)})?" + _object(literal, "parameters", "arguments")
