"""The cleaner that all HTML passes last: an allow-list of elements, attributes and classes."""

from collections.abc import Callable
from functools import lru_cache

import nh3


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TEXT = _words(
    "a blockquote br code div em figcaption figure h2 h3 h4 h5 h6 hr kbd li mark ol p pre s section span strong "
    "sub sup table tbody td th thead tr u ul"
)
_MATH = _words(
    "math menclose merror mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot mrow ms mspace "
    "msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder munderover none"
)
_MATH_ATTRIBUTES = _words(
    "accent accentunder align columnalign columnlines columnspacing depth display displaystyle fence form height "
    "linethickness lspace mathsize mathvariant maxsize minsize movablelimits notation rowlines rowspacing rspace "
    "scriptlevel separator stretchy symmetric voffset width"
)
#: The classes of parts of code: keyword, string, number, definition, comment.
CODE_CLASSES = ("k", "s", "m", "d", "c")


@lru_cache(maxsize=1)
def cleaner() -> Callable[[str], str]:
    """Return the function that cleans HTML. It takes linear time."""
    attributes = {name: set(_MATH_ATTRIBUTES) for name in _MATH}
    attributes["math"] |= {"data-tex", "aria-label"}
    attributes["*"] = {"dir"}
    attributes["a"] = {"href", "title"}
    attributes["div"] = attributes["pre"] = {"tabindex", "role", "aria-label"}
    attributes["figure"] = {"data-language", "data-lines"}
    attributes["li"] = {"data-note", "value"}
    attributes["ol"] = {"start"}
    attributes["sup"] = {"data-note"}
    attributes["th"] = {"scope"}
    clean: Callable[[str], str] = nh3.Cleaner(
        tags=set(_TEXT | _MATH),
        clean_content_tags={"script", "style"},
        attributes=attributes,
        link_rel="noopener noreferrer nofollow ugc",
        set_tag_attribute_values={"a": {"target": "_blank"}},
        url_schemes={"http", "https", "mailto"},
        url_relative="deny",
        allowed_classes={
            "div": {"scroll", "sum"},
            "figure": {"code"},
            "li": {"task"},
            "p": {"plain"},
            "section": {"notes"},
            "span": set(CODE_CLASSES),
            "td": {"n", "mid"},
            "th": {"n", "mid"},
        },
    ).clean
    return clean
