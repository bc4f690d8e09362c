"""POST /documents/text: the text of a file."""

import re

from jan.errors import InvalidRequest, Unavailable
from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.documents import DocumentText, SentFile
from jan.schema.scopes import ANONYMOUS_OR_INFERENCE

_LONGEST_TEXT = 1024 * 1024
# A PDF may begin a little behind the beginning of its file. Source: Adobe's implementation notes.
_PDF, _PDF_WITHIN = b"%PDF-", 1024
# Encodings that a type may name. All others are guessed to be UTF-8.
_CHARSETS = ("utf-8", "us-ascii", "utf-16", "iso-8859-1", "iso-8859-15", "windows-1252", "shift_jis", "gb18030")
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


class DocumentTexts(Handler):
    """The text of files, for questions about them."""

    @operation(
        summary="Get the text of a file",
        access=ANONYMOUS_OR_INFERENCE,
        tag="inference",
        request=SentFile,
        request_media_type="multipart/form-data",
        response=DocumentText,
        errors=(InvalidRequest, Unavailable),
        examples=(Example(summary="A table", body={"file": "month,rain\nJune,31\n"}),),
    )
    async def post(self, body: SentFile) -> DocumentText:
        """Return the text of a file: text of any kind, such as Markdown, code, CSV and JSON, or PDF. The file is
        the body itself, or the first file of a form. Nothing is kept."""
        if not body.data:
            raise _refused("It is empty.", "invalid_value")
        if _PDF in body.data[:_PDF_WITHIN]:
            text, pages = await self._pdf(body.data)
        else:
            text, pages = _decoded(body), None
        if len(text) > _LONGEST_TEXT:
            raise _refused(
                f"It has {len(text)} characters; allowed: at most {_LONGEST_TEXT}.", "document_too_long"
            )
        return DocumentText(
            name=body.name or None,
            kind="text" if pages is None else "pdf",
            text=text,
            characters=len(text),
            pages=pages,
        )

    async def _pdf(self, data: bytes) -> tuple[str, int]:
        found = await self.services.renderer.pdf_text(data, _LONGEST_TEXT)
        if found.too_long:
            raise _refused(f"Its text has more than {_LONGEST_TEXT} characters.", "document_too_long")
        if found.refusal:
            raise _refused(f"The PDF can't be read. {found.refusal}.", "document_unreadable")
        if not found.text:
            raise _refused("The PDF has no text. Its pages may be pictures.", "document_without_text")
        return found.text, found.pages


def _decoded(file: SentFile) -> str:
    """Return the text of a file. Raises InvalidRequest for one that is no text."""
    charset = file.charset if file.charset in _CHARSETS else "utf-8"
    if file.data.startswith(_UTF_16_MARKS):
        charset = "utf-16"
    try:
        text = file.data.decode("utf-8-sig" if charset == "utf-8" else charset)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text or len(_CONTROL.findall(text)) > len(text) // 100:
        raise _refused("It is neither text in UTF-8 nor PDF.", "unsupported_document")
    return text


def _refused(reason: str, code: str) -> InvalidRequest:
    return InvalidRequest(f"file: {reason}", code=code, param="file")
