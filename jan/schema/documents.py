"""POST /documents/text: a file, and its text."""

from typing import Literal

import msgspec


class SentFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file as the body of a request, or as the first file of a form.

    ``name``: its name in the form, '' if it has none. ``charset``: the encoding that its type names, '' if none.
    """

    data: bytes
    name: str = ""
    charset: str = ""


class DocumentText(msgspec.Struct, frozen=True, kw_only=True):
    """The text of a file. ``pages``: those of a PDF, else null."""

    object: Literal["document_text"] = "document_text"
    name: str | None
    kind: Literal["text", "pdf"]
    text: str
    characters: int
    pages: int | None
