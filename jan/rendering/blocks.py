"""The blocks of a text, and the job of reading one. Plain text is the form of what can't be read."""

from html import escape

import msgspec

#: Characters of the longest text that is read as Markdown.
LONGEST_TEXT = 256 * 1024


class Block(msgspec.Struct, frozen=True):
    """A block of a text, such as a paragraph, a list or a table.

    ``html``: one element, safe to be put into a page. ``end``: how far in the text the block reaches, in UTF-16
    code units as JavaScript counts them.
    """

    html: str
    end: int


class RenderJob(msgspec.Struct, frozen=True):
    """A text to be read as Markdown.

    ``growing``: the text goes on, so only the blocks that can't change are wanted. It has whole lines only.
    ``next_begins``: the line that follows begins with a letter, which begins a paragraph where one can.
    """

    text: str
    growing: bool = False
    next_begins: bool = False


class Rendered(msgspec.Struct, frozen=True):
    """The blocks of a text.

    ``read``: characters of a growing text that are in the blocks for good. ``seconds``: CPU time that it took.
    ``mistake``: the exception that a library raised, '' if none did.
    """

    blocks: list[Block]
    read: int
    seconds: float = 0.0
    mistake: str = ""


class FileJob(msgspec.Struct, frozen=True):
    """A PDF whose text is wanted. ``most``: characters that are enough."""

    data: bytes
    most: int


class FileText(msgspec.Struct, frozen=True):
    """The text of a PDF. ``refusal``: why there is none, '' if there is. ``too_long``: it is beyond the limit."""

    text: str = ""
    pages: int = 0
    refusal: str = ""
    too_long: bool = False


def units(text: str) -> int:
    """Return the length of a text in UTF-16 code units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def plain_block(text: str, end: int) -> Block:
    """Return a text as one block that shows it as it is written."""
    return Block(plain_html(text), end)


def plain_html(text: str) -> str:
    """Return a text as an element that shows it as it is written."""
    return f'<p class="plain" dir="auto">{escape(text.strip(chr(10)))}</p>'


def plain(text: str) -> Rendered:
    """Return a text that is not read as Markdown: one block, none for an empty text."""
    return Rendered([plain_block(text, units(text))] if text.strip() else [], len(text))
