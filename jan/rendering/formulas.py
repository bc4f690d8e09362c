"""Formulas in Markdown, as MathML: ``$x$``, ``\\(x\\)``, and ``$$x$$``, ``\\[x\\]`` also as a block."""

import re
from html import escape, unescape
from typing import Any
from xml.etree.ElementTree import tostring

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

from jan.rendering.time_limit import at_most

# A longer or deeper formula is shown as TeX.
LONGEST_FORMULA = 4000
_MOST_LINES = 64
_DEEPEST_BRACES = 40
_SECONDS = 0.25
_PAIRS = (("$$", "$$"), (r"\[", r"\]"), (r"\(", r"\)"))
# `$5 and another 7$` is about money: a number, followed by words.
_MONEY = re.compile(r"\d[\d.,]*\s+[^\W\d_]{2,}")


def add_formulas(md: MarkdownIt) -> None:
    """Make a reader of Markdown read formulas."""
    md.inline.ruler.before("escape", "formula", _in_line)
    md.block.ruler.before("fence", "formula", _block, {"alt": ["paragraph", "reference", "blockquote", "list"]})


def mathml(tex: str, *, display: bool) -> str:
    """Return a formula as MathML with its TeX, or as code if it can't be read."""
    tex = tex.strip()
    if len(tex) <= LONGEST_FORMULA and _depth(tex) <= _DEEPEST_BRACES:
        try:
            with at_most(_SECONDS):
                return _converted(tex, "block" if display else "inline")
        except Exception:  # noqa: BLE001 - the library raises many kinds for what it can't read
            return f"<code>{escape(tex)}</code>"
    return f"<code>{escape(tex)}</code>"


def _converted(tex: str, display: str) -> str:
    from latex2mathml.converter import convert_to_element

    made: Any = convert_to_element(tex, display=display)
    for element in made.iter():
        # The library writes some characters as references, and trusts the formula not to.
        element.text = unescape(element.text) if element.text else element.text
    del made.attrib["xmlns"]
    made.set("data-tex", tex)
    return str(tostring(made, encoding="unicode"))


def _depth(tex: str) -> int:
    """Return how deep braces and environments are nested."""
    depth = deepest = 0
    for mark in re.finditer(r"[{}]|\\(?:begin|left|end|right)\b", tex):
        depth += 1 if mark[0] in ("{", r"\begin", r"\left") else -1
        deepest = max(deepest, depth)
    return deepest


def _in_line(state: StateInline, silent: bool) -> bool:
    """Read a formula at the place of a line."""
    source, begin = state.src, state.pos
    if source[begin] not in "$\\":
        return False
    opening, closing = next((pair for pair in _PAIRS if source.startswith(pair[0], begin)), ("$", "$"))
    if not source.startswith(opening, begin):
        return False
    content = begin + len(opening)
    end = _end_of(source, content, closing, min(state.posMax, content + LONGEST_FORMULA))
    if end < 0 or not (tex := source[content:end]).strip():
        return False
    if opening == "$" and not _is_formula(tex, source[end + 1 : end + 2]):
        return False
    if not silent:
        token = state.push("formula_inline", "math", 0)
        token.content, token.markup = tex, opening
    state.pos = end + len(closing)
    return True


def _end_of(source: str, at: int, closing: str, last: int) -> int:
    """Return where the mark that ends a formula is, -1 if there is none."""
    while (at := source.find(closing, at, last)) >= 0:
        before = at
        while source[before - 1] == "\\" and closing[0] == "$":
            before -= 1
        if (at - before) % 2 == 0:
            return at
        at += 1
    return -1


def _is_formula(tex: str, following: str) -> bool:
    """Tell a formula between dollars from amounts of money. Source: the rules of Pandoc's tex_math_dollars."""
    if tex[0].isspace() or tex[-1].isspace() or following.isdigit() or "\n\n" in tex:
        return False
    return not _MONEY.match(tex)


def _block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read a formula that begins a line and ends one."""
    if state.is_code_block(start):
        return False
    source = state.src
    begin = state.bMarks[start] + state.tShift[start]
    opening, closing = next((pair for pair in _PAIRS[:2] if source.startswith(pair[0], begin)), ("", ""))
    if not opening:
        return False
    texts, line, at = [], start, begin + len(opening)
    while True:
        text = source[at : state.eMarks[line]].rstrip()
        if closing in text:
            if not text.endswith(closing) or text.index(closing) < len(text) - len(closing):
                return False  # the line goes on behind the formula
            texts.append(text.removesuffix(closing))
            break
        texts.append(text)
        line += 1
        if line - start >= _MOST_LINES or sum(map(len, texts)) > LONGEST_FORMULA:
            return False
        if line >= end:
            return _unfinished(state, start, end, silent)
        at = state.bMarks[line] + state.tShift[line]
        if state.sCount[line] < state.blkIndent and not state.isEmpty(line):
            return False
    if not any(text.strip() for text in texts):
        return False
    if not silent:
        _push(state, start, line + 1, "\n".join(texts))
    return True


def _unfinished(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read a formula whose end has not come as a block that is open. In a whole text it is no formula."""
    if not state.env.get("growing"):
        return False
    if not silent:
        _push(state, start, end, "").meta["open"] = True
    return True


def _push(state: StateBlock, start: int, end: int, tex: str) -> Any:
    token = state.push("formula_block", "math", 0)
    token.block, token.content, token.map = True, tex, [start, end]
    state.line = end
    return token
