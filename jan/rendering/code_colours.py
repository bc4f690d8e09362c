"""Code as HTML with a class for each kind of word: no colours here, they are the page's."""

from collections.abc import Iterator
from html import escape
from itertools import groupby
from typing import Any

from jan.rendering.time_limit import TooSlow, at_most

# Longer code is shown without colours.
_LONGEST_CODE = 50_000
_SECONDS = 0.25
_LONGEST_LANGUAGE = 32


def language_of(info: str) -> str:
    """Return the language that the line of a fence names, '' if it names none."""
    return info.strip().split(maxsplit=1)[0][:_LONGEST_LANGUAGE] if info.strip() else ""


def coloured(code: str, language: str) -> str:
    """Return code as HTML. Of an unknown language, or if it takes long, it has no classes."""
    if not language or len(code) > _LONGEST_CODE:
        return escape(code)
    try:
        with at_most(_SECONDS):
            return "".join(_spans(code, language))
    except (TooSlow, LookupError, RecursionError):
        return escape(code)


def _spans(code: str, language: str) -> Iterator[str]:
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        lexer: Any = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        yield escape(code)
        return
    parts = ((_class_of(kind), text) for kind, text in lexer.get_tokens(code))
    for name, run in groupby(parts, key=lambda part: part[0]):
        text = escape("".join(text for _, text in run))
        yield f'<span class="{name}">{text}</span>' if name else text


def _class_of(kind: Any) -> str:
    """Return the class of a kind of word, '' for one that is shown like the rest."""
    from pygments.token import Comment, Keyword, Name, Number, Operator, String

    classes = (
        (Comment, "c"),
        (Keyword, "k"),
        (Operator.Word, "k"),
        (String, "s"),
        (Number, "m"),
        (Name.Function, "d"),
        (Name.Class, "d"),
        (Name.Tag, "d"),
        (Name.Decorator, "d"),
    )
    return next((name for known, name in classes if kind in known), "")
