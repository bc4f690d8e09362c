"""The conversations in a file, one after another, without ever holding more of the file than one of them.

An export is an array of objects, one object, or a line for each object. Here only brackets and strings are looked
at. Whoever reads an object finds out whether it is JSON.
"""

import re
from collections.abc import Iterable, Iterator

import msgspec

#: The largest conversation that is read, in bytes of JSON. Others are passed over.
LARGEST = 64 * 1024 * 1024
# Objects, lists and texts of a conversation. Each takes far more memory than a file needs to name it.
_MOST_MEMBERS = 500_000
_STRUCTURE = re.compile(rb'["{}\[\]]')
# What may stand between objects.
_BLANK = re.compile(rb"[ \t\r\n,]*")
_BOM = b"\xef\xbb\xbf"
# Pictures and sounds within a JSON text (RFC 2397). Nobody reads them, and they would be most of a file.
_MEDIA = re.compile(rb"data:[a-z]{1,20}/[\w.+-]{1,80};base64,[A-Za-z0-9+/=\\]{100,}")


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON text at the place ``number`` of a file, counted from 1.

    ``fault``: why it can't be read. It has no data then.
    """

    number: int
    data: bytes = b""
    fault: str = ""


class _Line(msgspec.Struct):
    type: str = ""


def pieces(chunks: Iterable[bytes], largest: int = LARGEST, first: int = 1) -> Iterator[Piece]:
    """Yield the objects of a file that is read in chunks, with the numbers from ``first``.

    Those that are too large, or cut off, have a fault.
    """
    finder = _Finder(largest, first)
    for chunk in chunks:
        yield from finder.add(chunk)
    yield from finder.end()


def joined(found: Iterable[Piece], largest: int = LARGEST) -> Iterator[Piece]:
    """Yield pieces, with the lines of each session as one piece.

    llama.cpp's page writes a line for a session, then a line for each of its messages.
    """
    session: _Session | None = None
    for piece in found:
        kind = "" if piece.fault else _type_of(piece.data)
        if session is not None and kind == "message":
            session.add(piece)
            continue
        if session is not None:
            yield session.whole(largest)
        session = _Session(piece, largest) if kind == "session" else None
        if session is None:
            yield piece
    if session is not None:
        yield session.whole(largest)


def without_media(data: bytes) -> bytes:
    """Return JSON text in which pictures and sounds are empty."""
    return _MEDIA.sub(b"data:,", data)


class _Session:
    """The lines of a session, as one object with the keys session and lines."""

    def __init__(self, first: Piece, largest: int) -> None:
        self._first = first
        self._lines: list[bytes] = []
        self._room = largest - len(first.data)

    def add(self, line: Piece) -> None:
        self._room -= len(line.data)
        if self._room >= 0:
            self._lines.append(line.data)

    def whole(self, largest: int) -> Piece:
        if self._room < 0:
            return Piece(number=self._first.number, fault=_too_large(largest))
        lines = b",".join(self._lines)
        return Piece(number=self._first.number, data=b'{"session":%b,"lines":[%b]}' % (self._first.data, lines))


def _type_of(data: bytes) -> str:
    try:
        return msgspec.json.decode(data, type=_Line).type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def _too_large(largest: int) -> str:
    return f"It is larger than {largest} bytes."


class _Finder:
    """Finds the objects in a text that arrives in chunks.

    The buffer begins behind the object before. ``_at``: how far it was looked through. ``_floor``: the depth
    between objects, which is 1 in an array.
    """

    def __init__(self, largest: int, first: int) -> None:
        self._largest = largest
        self._buffer = bytearray()
        self._at = self._depth = self._floor = 0
        self._number = first - 1
        self._members = 0
        self._in_string = self._too_large = False
        self._is_begun = False

    def add(self, chunk: bytes) -> Iterator[Piece]:
        """Yield what ends in this chunk."""
        self._buffer += chunk
        if not self._is_begun and not self._begin():
            return
        while (sign := self._next_bracket()) is not None:
            if sign in b"{[":
                yield from self._open(sign)
            else:
                yield from self._close()
        if self._depth == self._floor and not self._in_string and self._is_blank(len(self._buffer)):
            self._drop(len(self._buffer))
        if len(self._buffer) > self._largest:
            self._forget()

    def end(self) -> Iterator[Piece]:
        """Yield what stands at the end of the file and is not complete."""
        if self._depth > self._floor:
            yield self._piece(self._at, "The file ends in the middle of it.")
        else:
            yield from self._between(len(self._buffer))

    def _begin(self) -> bool:
        """Drop a byte order mark. False while the buffer may be the beginning of one."""
        self._is_begun = len(self._buffer) >= len(_BOM) or not _BOM.startswith(bytes(self._buffer))
        if self._buffer.startswith(_BOM):
            self._drop(len(_BOM))
        return self._is_begun

    def _next_bracket(self) -> bytes | None:
        """Go to behind the next bracket outside of strings. None if the buffer has none."""
        while not self._in_string or self._end_string():
            found = _STRUCTURE.search(self._buffer, self._at)
            if found is None:
                self._at = len(self._buffer)
                return None
            sign, self._at = found[0], found.end()
            self._members += sign in b'"{['
            if sign != b'"':
                return sign
            self._in_string = True
        return None

    def _end_string(self) -> bool:
        """Go to behind the end of the string. False if the buffer does not have it."""
        while (quote := self._buffer.find(b'"', self._at)) >= 0:
            self._at = quote + 1
            if self._backslashes_before(quote) % 2 == 0:
                self._in_string = False
                return True
        self._at = len(self._buffer)
        return False

    def _backslashes_before(self, place: int) -> int:
        first = place
        while first > 0 and self._buffer[first - 1] == ord("\\"):
            first -= 1
        return place - first

    def _open(self, sign: bytes) -> Iterator[Piece]:
        if self._depth == self._floor:
            yield from self._between(self._at - 1)
            if sign == b"[" and self._floor == 0:
                self._floor = 1
                self._drop(1)
        self._depth += 1

    def _close(self) -> Iterator[Piece]:
        self._depth -= 1
        if self._depth < self._floor:  # the end of the array, or a bracket too many
            yield from self._between(self._at - 1)
            self._drop(1)
            self._depth = self._floor = 0
        elif self._depth == self._floor:
            yield self._piece(self._at)
            self._drop(self._at)

    def _between(self, end: int) -> Iterator[Piece]:
        """Yield what stands between objects up to a place, unless it is blank, and drop it."""
        if self._too_large or not self._is_blank(end):
            yield self._piece(end, "It is no JSON object.")
        self._drop(end)

    def _is_blank(self, end: int) -> bool:
        found = _BLANK.match(self._buffer)
        return found is not None and found.end() >= end

    def _piece(self, end: int, fault: str = "") -> Piece:
        self._number += 1
        if self._too_large or end > self._largest:
            self._too_large, fault = False, _too_large(self._largest)
        elif self._members > _MOST_MEMBERS:
            fault = f"It has more than {_MOST_MEMBERS} objects, lists and texts."
        self._members = 0
        return Piece(number=self._number, data=b"" if fault else bytes(self._buffer[:end]), fault=fault)

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._at = max(0, self._at - count)

    def _forget(self) -> None:
        """Drop what is too large. If it ends in a backslash that escapes, that is kept."""
        kept = self._backslashes_before(len(self._buffer)) % 2 if self._in_string else 0
        self._too_large = self._depth > self._floor or not self._is_blank(len(self._buffer))
        self._buffer[:] = b"\\" * kept
        self._at = kept
