"""The little HTTP that a benchmark needs: requests as bytes, and the end of an answer."""

import re
from collections.abc import Mapping

import msgspec

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LAST_CHUNK = b"0\r\n\r\n"
#: Bytes to keep from the data before, to recognise the last chunk across two reads.
_KEPT = len(b"\r\n" + _LAST_CHUNK) - 1


def request(
    path: str, body: object | None = None, *, method: str = "", headers: Mapping[str, str] | None = None
) -> bytes:
    """Return a request with a JSON body (POST by default) or without one (GET by default)."""
    data = b"" if body is None else msgspec.json.encode(body)
    lines = [f"{method or ('GET' if body is None else 'POST')} {path} HTTP/1.1", "Host: 127.0.0.1"]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + data


def bearer(key: str) -> dict[str, str]:
    """Return the header that carries an API key."""
    return {"Authorization": f"Bearer {key}"}


class AnswerReader:
    """Finds where each answer ends in the data of a connection."""

    def __init__(self) -> None:
        self.status = 0
        self.head = b""
        #: The body of an answer with a length. Chunks are not kept.
        self.body = b""
        self._left: int | None = None
        self._tail = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Return the part of ``data`` that belongs to the body, and whether the answer ends with it."""
        if self.status == 0:
            self.head += data
            head, separator, data = self.head.partition(b"\r\n\r\n")
            if not separator:
                return b"", False
            self._begin(head)
        if self._left is None:
            self._tail = self._tail[-_KEPT:] + data[-2 * _KEPT :]
            return data, self._tail.endswith(b"\r\n" + _LAST_CHUNK)
        self._left -= len(data)
        self.body += data
        return data, self._left <= 0

    def _begin(self, head: bytes) -> None:
        found = _STATUS.match(head)
        self.head = head
        self.status = int(found[1]) if found else 599
        length = _LENGTH.search(head)
        self._left = int(length[1]) if length else None
        self._tail = b"\r\n"

    def next(self) -> None:
        """Get ready for the next answer."""
        self.status, self.head, self.body, self._left = 0, b"", b"", None
