"""The forms in which models write a tool call: the text before the name, before the arguments, and after."""

import re
from collections.abc import Callable
from functools import cache

import msgspec

from jan.engine.prompts.dialects import ARGS_MARK, CALL_CLOSE, CALL_OPEN, MISTRAL_MARK, PYTHON_MARK, ToolFormat

_Literal = Callable[[str], str]
_NAME = r'(?P<name>[^"\\]{0,64})'


class Pattern:
    """A regular expression for text that arrives in pieces.

    ``write`` returns the expression, given a function that turns literal text into a part of it. It is called
    twice: for whole literals, and for literals that the end of the text may cut off.
    """

    def __init__(self, write: Callable[[_Literal], str]) -> None:
        self._whole = re.compile(write(re.escape))
        self._beginning = re.compile(write(_cut) + r"\Z")

    def match(self, text: str) -> "re.Match[str] | None":
        """Return the match at the beginning of ``text``; the last group of a head is the tool's name."""
        return self._whole.match(text)

    def may_become(self, text: str) -> bool:
        """Return True if more text could complete a match."""
        return self._beginning.match(text) is not None


class CallForm(msgspec.Struct, frozen=True):
    """The parts of a call: ``mark``, ``head`` with the tool's name, the arguments as JSON, ``tail``.

    ``mark``: '' if the form has none. Group ``more`` of the tail: another head follows without a mark.
    """

    mark: str
    head: Pattern
    tail: Pattern


def _cut(literal: str) -> str:
    """Return the expression for a literal that the end of the text may cut off."""
    return "".join(rf"(?:{re.escape(character)}|\Z)" for character in literal)


def _object(literal: _Literal, *arguments: str) -> str:
    """Return the expression for an object with a name, up to its arguments, which are an object or a list."""
    quote, keys = literal('"'), "|".join(literal(f'"{key}"') for key in arguments)
    parts = [literal("{"), literal('"name"'), literal(":"), quote + _NAME + quote, literal(",")]
    return r"\s*".join(["", *parts, f"(?:{keys})", literal(":"), _ahead(literal, r"[{\[]")])


def _ahead(literal: _Literal, wanted: str) -> str:
    """Return a lookahead for the next character, which may not have arrived yet."""
    return rf"(?={wanted}|\Z)" if literal is _cut else f"(?={wanted})"


def _listed(literal: _Literal) -> str:
    """Return the expression for Mistral's head of a call: an item of a list, or only a name."""
    listed = rf"\s*(?:{literal('[')})?" + _object(literal, "arguments", "parameters")
    identified = rf"(?:{literal('[CALL_ID]')}[A-Za-z0-9_-]*)?"
    plain = rf"\s*(?P<plain>[A-Za-z0-9_-]{{1,64}}){identified}(?:{literal(ARGS_MARK)})?\s*{_ahead(literal, '[{]')}"
    return f"(?:{listed}|{plain})"


def _end_of_listed(literal: _Literal) -> str:
    """Return the expression for the end of an item of a list: an id, the brace, and a comma or the bracket."""
    identified = r"\s*".join([literal(","), literal('"id"'), literal(":"), r'"?[A-Za-z0-9_-]*"?'])
    return rf"\s*(?:{identified})?\s*{literal('}')}\s*(?:(?P<more>{literal(',')})|{literal(']')})"


def _end_of_bare(literal: _Literal) -> str:
    """Return the expression for the end of a bare call: the brace, and a semicolon if another call follows."""
    other = _ahead(literal, r"[^\s;]")
    return rf"\s*{literal('}')}\s*(?:(?P<more>{literal(';')})|{other})"


@cache
def call_form_of(tools: ToolFormat) -> CallForm:
    """Return the form in which calls of this tool format are written."""
    if tools == "hermes":
        tagged = Pattern(lambda literal: _object(literal, "arguments", "parameters"))
        return CallForm(CALL_OPEN, tagged, Pattern(_end_of_tagged))
    if tools == "llama3":
        return CallForm("", Pattern(_bare), Pattern(_end_of_bare))
    # Both of Mistral's forms are accepted, whichever the template shows.
    return CallForm(MISTRAL_MARK, Pattern(_listed), Pattern(_end_of_listed))


def _end_of_tagged(literal: _Literal) -> str:
    """Return the expression for the end of a call between tags."""
    return rf"\s*{literal('}')}\s*{literal(CALL_CLOSE)}"


def _bare(literal: _Literal) -> str:
    """Return the expression for Llama's head of a call, which nothing but PYTHON_MARK may introduce."""
    return rf"\s*(?:{literal(PYTHON_MARK)})?" + _object(literal, "parameters", "arguments")
