"""Read what models write beyond CommonMark: some elements, bare addresses, tasks. Images become links."""

import re
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

# Elements that text may have as they are. All others are shown as text.
_ELEMENTS = re.compile(r"<(?:br\s{0,3}/?|/?(?:sub|sup|kbd|mark|u))>", re.IGNORECASE)
_ADDRESS = re.compile(r"\bhttps?://[^\s<>\"'`|\\]+", re.IGNORECASE)
_ALLOWED = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)
_AFTER_ADDRESS = ".,:;!?*_~"
_TASK = re.compile(r"\[([ xX])\]\s")


def add_inline_html(md: MarkdownIt) -> None:
    """Make a reader of Markdown read these."""
    md.inline.ruler.before("autolink", "element", _element)
    md.core.ruler.push("lines", _lines)
    md.validateLink = lambda url: _ALLOWED.match(url) is not None  # type: ignore[method-assign]


def _element(state: StateInline, silent: bool) -> bool:
    """Read an element at the place of a line."""
    found = _ELEMENTS.match(state.src, state.pos)
    if found is None:
        return False
    if not silent:
        state.push("html_inline", "", 0).content = found[0]
    state.pos = found.end()
    return True


def _lines(state: StateCore) -> None:
    """Change what was read of each line."""
    tokens = state.tokens
    for number, token in enumerate(tokens):
        if token.type == "inline" and token.children:
            if number >= 2 and tokens[number - 2].type == "list_item_open":
                _task(tokens[number - 2], token.children[0])
            token.children = _with_links(token.children)


def _task(item: Token, first: Token) -> None:
    """Show a box before the text of an item that begins with one."""
    found = _TASK.match(first.content) if first.type == "text" else None
    if found is not None:
        item.attrSet("class", "task")
        first.content = f"{'☐' if found[1] == ' ' else '☑'} {first.content[found.end() :]}"


def _with_links(tokens: list[Token]) -> list[Token]:
    """Make images and bare addresses links, unless they are in one."""
    made: list[Token] = []
    within = 0
    for token in tokens:
        within += token.nesting if token.type.startswith("link_") else 0
        if token.type == "image":
            url, text = str(token.attrs.get("src", "")), _text_of(token)
            made += [Token("text", "", 0, content=text)] if within else _link(url, text)
        elif token.type == "text" and not within and "://" in token.content:
            made += _addresses(token.content)
        else:
            made.append(token)
    return made


def _text_of(image: Token) -> str:
    text = "".join(child.content for child in image.children or () if child.type in ("text", "code_inline"))
    return text or str(image.attrs.get("src", ""))


def _addresses(text: str) -> list[Token]:
    made: list[Token] = []
    at = 0
    for found in _ADDRESS.finditer(text):
        url = _trimmed(found[0])
        made.append(Token("text", "", 0, content=text[at : found.start()]))
        made += _link(url, url)
        at = found.start() + len(url)
    return [*made, Token("text", "", 0, content=text[at:])]


def _trimmed(url: str) -> str:
    """Return an address without the marks of the sentence behind it."""
    shut = url.count(")") - url.count("(")
    while url[-1] in _AFTER_ADDRESS or (url[-1] == ")" and shut > 0):
        shut -= url[-1] == ")"
        url = url[:-1]
    return url


def _link(url: str, text: str) -> list[Token]:
    attributes: Any = {"href": url}
    return [
        Token("link_open", "a", 1, attrs=attributes),
        Token("text", "", 0, content=text),
        Token("link_close", "a", -1),
    ]
