"""POST /render: texts as blocks of safe HTML."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class RenderRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of a request to turn Markdown into HTML."""

    text: Annotated[
        str | list[str],
        Meta(description="Markdown, or at most 100 texts of it; at most 262144 characters each, 1048576 together"),
    ]


class RenderedBlock(msgspec.Struct, frozen=True, kw_only=True):
    """A block of a text: a paragraph, a heading, a list, a table, code, a formula."""

    index: int
    html: Annotated[str, Meta(description="One element, safe to be put into a page")]
    end: Annotated[
        int, Meta(description="How far in the text the block reaches, in UTF-16 code units as JavaScript counts")
    ]


class RenderedText(msgspec.Struct, frozen=True, kw_only=True):
    """The blocks of one text."""

    object: Literal["rendered_text"] = "rendered_text"
    index: int
    blocks: list[RenderedBlock]


class RenderedTexts(msgspec.Struct, frozen=True, kw_only=True):
    """The blocks of each text."""

    object: Literal["list"] = "list"
    data: list[RenderedText]
