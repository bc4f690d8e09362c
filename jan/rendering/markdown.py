"""Markdown as blocks of safe HTML: CommonMark with tables, strikethrough, footnotes, tasks and formulas."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from html import escape, unescape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.footnote import footnote_plugin

from jan.rendering.blocks import LONGEST_TEXT, Block, Rendered, RenderJob, plain, plain_block, units
from jan.rendering.code_colours import coloured, language_of
from jan.rendering.formulas import add_formulas, mathml
from jan.rendering.inline_html import add_inline_html
from jan.rendering.safe_html import cleaner

# Twice as many as quotes and lists within each other. Deeper blocks are shown as they are written.
_DEEPEST = 40
_LONGEST_LABEL = 100
_LINE_END = re.compile(r"\r\n?|\n")
_LETTER = "z\n"
_ENDED_BY_EMPTY_LINE = ("paragraph_open", "heading_open", "table_open", "blockquote_open", "formula_block", "hr")
_CLASSES = {"text-align:right": "n", "text-align:center": "mid"}.items()


def render(job: RenderJob) -> Rendered:
    """Return the blocks of a text, or those of a growing text that no later line can change by itself.

    Footnotes, and links whose target is defined elsewhere, are only right in a whole text.
    """
    text = job.text
    if len(text) > LONGEST_TEXT:
        return plain(text)
    source = text + _LETTER if job.next_begins else text
    environment: dict[str, Any] = {"growing": job.growing}
    tokens = _reader().parse(source, environment)
    starts = [0, *(found.end() for found in _LINE_END.finditer(source))]
    blocks = list(_blocks_of(tokens))
    if job.growing:
        blocks = [block for block in blocks if block[0].map and block[0].type != "footnote_block_open"]
        blocks, read = _final(blocks, job, starts)
    else:
        read = len(text)
    made: list[Block] = []
    end = at = 0
    for block in blocks:
        begin, behind = _place(block[0], starts, len(text))
        end, at = end + units(text[at:behind]), max(at, behind)
        if max(token.level for token in block) >= _DEEPEST - 1:
            made.append(plain_block(text[begin:behind], end))
        else:
            html = _reader().renderer.render(block, _reader().options, environment)
            made.append(Block(cleaner()(html).strip("\n"), end))
    return Rendered(made, read)


def _place(token: Token, starts: list[int], size: int) -> tuple[int, int]:
    """Return where a block begins in a text of this size, and where it ends. Notes are at the end."""
    begin, behind = token.map or (len(starts), len(starts))

    def at(line: int) -> int:
        return min(starts[line], size) if line < len(starts) else size

    return at(begin), at(behind)


def _blocks_of(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """Return the tokens of each block."""
    block: list[Token] = []
    for token in tokens:
        block.append(token)
        # Notes come last, and their tokens do not say how deep they are.
        if token.level == 0 and token.nesting <= 0 and block[0].type != "footnote_block_open":
            yield block
            block = []
    if block:
        yield block


def _final(blocks: list[list[Token]], job: RenderJob, starts: list[int]) -> tuple[list[list[Token]], int]:
    """Return the blocks that can't change, and how many characters of the text they need no more."""
    if not blocks:
        return [], 0
    last = blocks[-1][0]
    begin, end = _place(last, starts, len(job.text))
    if job.next_begins and begin == len(job.text):
        return blocks[:-1], begin  # the last one is the letter
    if not job.next_begins and _has_ended(last, job.text, starts):
        return blocks, end
    return blocks[:-1], begin


def _has_ended(last: Token, text: str, starts: list[int]) -> bool:
    """Return True if no line behind it can belong to a block."""
    begin, end = last.map or (0, 0)
    if last.meta.get("open"):
        return False
    if last.type in ("hr", "formula_block") or (last.type == "heading_open" and last.markup.startswith("#")):
        return True
    line = text[starts[end - 1] : starts[end]] if end < len(starts) else ""
    if last.type == "fence":
        closing = line.strip()
        return end - 1 > begin and closing.startswith(last.markup) and not closing.strip(last.markup)
    return last.type in _ENDED_BY_EMPTY_LINE and end < len(starts) - 1


@lru_cache(maxsize=1)
def _reader() -> MarkdownIt:
    reader = MarkdownIt("commonmark", {"html": False, "maxNesting": _DEEPEST, "xhtmlOut": False})
    reader.enable(["table", "strikethrough"]).disable(["html_block", "html_inline"])
    reader.use(footnote_plugin, inline=False)
    add_formulas(reader)
    add_inline_html(reader)
    reader.core.ruler.push("page", _shape)
    for name, rule in (
        ("code_block", _code),
        ("fence", _code),
        ("footnote_anchor", _nothing),
        ("footnote_block_close", _notes_end),
        ("footnote_block_open", _notes),
        ("footnote_close", _note_end),
        ("footnote_open", _note),
        ("footnote_ref", _reference),
        ("formula_block", _formula),
        ("formula_inline", _formula),
        ("table_close", _table_end),
        ("table_open", _table),
    ):
        reader.add_render_rule(name, rule)
    return reader


def _shape(state: Any) -> None:
    """Give the tokens the elements and attributes of a page."""
    for token in state.tokens:
        if token.type.startswith("heading_"):
            token.tag = f"h{min(int(token.tag[1:]) + 1, 6)}"
        elif token.type in ("th_open", "td_open"):
            style = str(token.attrs.pop("style", ""))
            for aligned, name in _CLASSES:
                if style == aligned:
                    token.attrSet("class", name)
            if token.tag == "th":
                token.attrSet("scope", "col")
        if token.level == 0 and token.nesting > 0 and not token.type.startswith("footnote"):
            token.attrSet("dir", "auto")


def _code(_self: Any, tokens: Sequence[Token], at: int, _options: Any, _environment: Any) -> str:
    token = tokens[at]
    language, code = escape(language_of(unescape(token.info))), token.content
    named = f' aria-label="{language}"' if language else ""
    lines = code.count("\n") + (not code.endswith("\n"))
    return (
        f'<figure class="code" data-language="{language}" data-lines="{lines}"><figcaption><span>{language}</span>'
        f'</figcaption><pre tabindex="0" role="group"{named}><code>'
        f"{coloured(code, language_of(unescape(token.info)).lower())}</code></pre></figure>"
    )


def _table(self: Any, tokens: Sequence[Token], at: int, options: Any, environment: Any) -> str:
    names = []
    for token in tokens[at:]:
        if token.type == "thead_close":
            break
        if token.type == "inline":
            names.append(self.renderInlineAsText(token.children, options, environment).strip())
    label = escape(", ".join(filter(None, names))[:_LONGEST_LABEL])
    return f'<div class="scroll" tabindex="0" role="group" aria-label="{label}"><table dir="auto">'


def _table_end(*_: Any) -> str:
    return "</table></div>"


def _formula(_self: Any, tokens: Sequence[Token], at: int, _options: Any, _environment: Any) -> str:
    token = tokens[at]
    if token.type == "formula_block":
        return f'<div class="sum">{mathml(token.content, display=True)}</div>'
    return mathml(token.content, display=token.markup in ("$$", r"\["))


def _reference(_self: Any, tokens: Sequence[Token], at: int, _options: Any, _environment: Any) -> str:
    number = tokens[at].meta["id"] + 1
    return f'<sup data-note="{number}">{number}</sup>'


def _notes(*_: Any) -> str:
    return '<section class="notes"><ol dir="auto">'


def _notes_end(*_: Any) -> str:
    return "</ol></section>"


def _note(_self: Any, tokens: Sequence[Token], at: int, _options: Any, _environment: Any) -> str:
    return f'<li data-note="{tokens[at].meta["id"] + 1}">'


def _note_end(*_: Any) -> str:
    return "</li>"


def _nothing(*_: Any) -> str:
    return ""
