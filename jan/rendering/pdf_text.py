"""The text of a PDF, page after page. Runs in a child process."""

from io import BytesIO

from pypdf import PdfReader

from jan.rendering.blocks import FileJob, FileText

_MOST_PAGES = 2000


def pdf_text(job: FileJob) -> FileText:
    """Return the text of a PDF, or why there is none."""
    reader = PdfReader(BytesIO(job.data), strict=False)
    if reader.is_encrypted and not reader.decrypt(""):
        return FileText(refusal="It is protected by a password")
    pages = len(reader.pages)
    if pages > _MOST_PAGES:
        return FileText(refusal=f"It has {pages} pages; allowed: {_MOST_PAGES}")
    texts: list[str] = []
    size = 0
    for page in reader.pages:
        texts.append(page.extract_text().strip())
        size += len(texts[-1]) + 2
        if size > job.most:
            return FileText(too_long=True)
    text = "\n\n".join(filter(None, texts)).replace("\0", "")
    return FileText(text=text.encode(errors="replace").decode(), pages=pages)
