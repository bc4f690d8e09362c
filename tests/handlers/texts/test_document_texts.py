"""The text of files, by POST /documents/text."""

import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from pypdf import PdfReader, PdfWriter

from jan.testing import ThreadServer, served

URL = "/v1/documents/text"


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    with served() as found:
        yield found
        assert found.errors == []


def pdf(*pages: bytes, packed: bool = False) -> bytes:
    """A PDF of these content streams, written by hand."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%b] /Count %d >>" % (kids.encode(), len(pages)),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, content in enumerate(pages):
        data = zlib.compress(content) if packed else content
        coding = b"/Filter /FlateDecode" if packed else b""
        parts.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % (5 + 2 * number)
        )
        parts.append(b"<< /Length %d %b >>\nstream\n%b\nendstream" % (len(data), coding, data))
    made, places = bytearray(b"%PDF-1.4\n"), []
    for number, part in enumerate(parts, 1):
        places.append(len(made))
        made += b"%d 0 obj\n%b\nendobj\n" % (number, part)
    table = len(made)
    made += b"xref\n0 %d\n0000000000 65535 f \n" % (len(parts) + 1)
    made += b"".join(b"%010d 00000 n \n" % place for place in places)
    made += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(parts) + 1, table)
    return bytes(made)


def shown(text: bytes) -> bytes:
    return b"BT /F1 12 Tf 10 100 Td (%b) Tj ET" % text


def locked() -> bytes:
    writer, made = PdfWriter(clone_from=PdfReader(BytesIO(pdf(shown(b"secret"))))), BytesIO()
    writer.encrypt("password", algorithm="AES-256")
    writer.write(made)
    return made.getvalue()


def refusal(server: ThreadServer, data: bytes, **headers: str) -> dict[str, Any]:
    answer = server.client.post(URL, content=data, headers=headers)
    assert answer.status_code == 400, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error["param"] == "file"
    assert error["message"].startswith("file: ")
    return error


@pytest.mark.parametrize(
    ("kind", "data", "text"),
    [
        ("text/markdown", b"# A\n\n*b*\n", "# A\n\n*b*\n"),
        ("text/csv", b"a,b\r\n1,2\r\n", "a,b\r\n1,2\r\n"),
        ("application/json", b'{"a": 1}', '{"a": 1}'),
        ("application/octet-stream", "def f():\n    return 'é'\n".encode(), "def f():\n    return 'é'\n"),
        ("text/plain", "\ufeffÄ".encode(), "Ä"),
        ("", "Ä".encode("utf-16"), "Ä"),
        ("text/plain; charset=ISO-8859-1", b"\xc4", "Ä"),
        ("image/svg+xml", b"<svg/>", "<svg/>"),
    ],
    ids=["markdown", "csv", "json", "code", "mark", "utf-16", "charset", "svg"],
)
def test_text_comes_back_as_it_is(server: ThreadServer, kind: str, data: bytes, text: str) -> None:
    answer = server.client.post(URL, content=data, headers={"Content-Type": kind})
    expected = {"name": None, "kind": "text", "text": text, "characters": len(text), "pages": None}
    assert answer.json() == {"object": "document_text", **expected}
    form = server.client.post(URL, data={"other": "c"}, files={"file": ("näme.txt", data, kind or "text/plain")})
    assert form.json() == {"object": "document_text", **expected, "name": "näme.txt"}


@pytest.mark.parametrize("packed", [False, True])
def test_a_pdf_is_read_page_after_page(server: ThreadServer, packed: bool) -> None:
    data = pdf(shown(b"One"), shown(b"Two"), b"", shown(b"Three"), packed=packed)
    answer = server.client.post(URL, files={"file": ("a.pdf", data, "application/pdf")}).json()
    assert (answer["kind"], answer["name"], answer["pages"]) == ("pdf", "a.pdf", 4)
    assert answer["text"] == "One\n\nTwo\n\nThree"


BINARY = {
    "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "elf": b"\x7fELF\2\1\1\0",
    "zip": b"PK\3\4\x14\0",
    "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF",
    "no utf-8": b"\xc3\x28",
    "nul": b"a\0b",
    "controls": bytes(range(1, 32)) * 9,
}


@pytest.mark.parametrize("data", BINARY.values(), ids=BINARY)
def test_what_is_neither_text_nor_pdf_is_refused(server: ThreadServer, data: bytes) -> None:
    assert refusal(server, data, **{"Content-Type": "text/plain"})["code"] == "unsupported_document"


HOSTILE = {
    "damaged": (b"%PDF-1.4\ngarbage", "document_unreadable"),
    "cut": (pdf(shown(b"One"))[:150], "document_unreadable"),
    "locked": (locked(), "document_unreadable"),
    "bomb": (pdf(b" " * 200_000_000, packed=True), "document_unreadable"),
    "pages without end": (pdf(shown(b"a")).replace(b"/Kids [4 0 R]", b"/Kids [2 0 R]"), "document_unreadable"),
    "no text": (pdf(b""), "document_without_text"),
    "too long": (pdf(shown(b"a" * 1_100_000)), "document_too_long"),
}


@pytest.mark.parametrize(("data", "code"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_pdf_is_refused(server: ThreadServer, data: bytes, code: str) -> None:
    assert refusal(server, data)["code"] == code


def test_other_bodies_are_refused(server: ThreadServer) -> None:
    assert refusal(server, b"")["code"] == "invalid_value"
    assert refusal(server, b"a" * 1_048_577)["code"] == "document_too_long"
    assert refusal(server, b"--x--\r\n", **{"Content-Type": "multipart/form-data; boundary=x"})["message"] == (
        "file: The form has no file."
    )
    for kind in ("multipart/form-data", f"multipart/form-data; boundary={'x' * 71}"):
        assert server.client.post(URL, content=b"a", headers={"Content-Type": kind}).status_code == 400
    answer = server.client.post(URL, content=b"a", headers={"Content-Encoding": "br"})
    assert answer.status_code == 415
