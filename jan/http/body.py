"""Collects a request's body up to a limit, and decodes it into a typed object."""

import asyncio
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable
from typing import Any

from tornado.httputil import HTTPHeaders

from jan.errors import InvalidRequest, PayloadTooLarge, Unavailable, UnsupportedMediaType, retry_headers
from jan.http.inflate import CODINGS, BrokenCompression, Inflater
from jan.http.json_body import JsonLimits, decode_json, takes_long
from jan.http.sent_file import sent_file
from jan.schema.documents import SentFile

# A body up to this many times too large is still read, so that the client gets an error. Beyond it the connection
# ends.
DRAIN_FACTOR = 16
# A body of this size needs no reserved memory. Nearly all bodies are smaller, and connections are limited too.
_SMALL = 64 * 1024
_RETRY_MS = 2000
# The digits of a 64-bit number. A longer number is larger than any limit.
_MAX_LENGTH_DIGITS = 19

# curl's -d sends the urlencoded type by default, with JSON inside.
_READABLE = ("application/json", "application/x-www-form-urlencoded", "text/plain", "")
_READABLE_LINES = (*_READABLE, "application/jsonl", "application/x-ndjson")


class BodyRoom:
    """Limits the memory for bodies, which are read before their senders are identified.

    An address may hold no more than what is still free. So one address gets at most half, and others always find
    room.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._held: Counter[str] = Counter()

    def take(self, address: str, count: int) -> bool:
        """Reserve ``count`` bytes for an address; False if there is no room."""
        if self._held[address] + count > self._free:
            return False
        self._free -= count
        self._held[address] += count
        return True

    def give_back(self, address: str, count: int) -> None:
        """Release ``count`` bytes of an address."""
        self._free += count
        self._held[address] -= count
        if not self._held[address]:
            del self._held[address]


class Body:
    """The bytes of one request's body. Call ``release`` however the request ends."""

    def __init__(
        self, headers: HTTPHeaders, limit: int, json: JsonLimits, room: BodyRoom, address: Callable[[], str]
    ) -> None:
        self._headers = headers
        self._json = json
        self._limit = limit
        self._room = room
        self._address = address
        self._taken = 0
        self._data = bytearray()
        self._too_large = self._no_room = False
        self._broken = ""
        coding = headers.get("Content-Encoding")
        self._inflater = Inflater(limit) if coding is not None and coding.strip().lower() in CODINGS else None
        self._timeout: asyncio.TimerHandle | None = None
        #: Paths of names in the decoded body that nothing here knows. They were left out.
        self.ignored: tuple[str, ...] = ()

    @property
    def is_announced(self) -> bool:
        """True if the request has a body, however short."""
        return "Content-Length" in self._headers or "Transfer-Encoding" in self._headers

    def limit_time(self, seconds: float, give_up: Callable[[], None]) -> None:
        """Call ``give_up`` unless the body is complete, or was released, within ``seconds``."""
        # Tornado's own limit makes a task and several futures for each body.
        self._timeout = asyncio.get_running_loop().call_later(seconds, give_up)

    def complete(self) -> None:
        """Note that the whole body has arrived. Raises PayloadTooLarge if it exceeded the limit, Unavailable if
        memory was short, InvalidRequest if it was not compressed as announced."""
        self._stop_timeout()
        if self._inflater is not None and not self._broken:
            try:
                self._inflater.complete()
            except BrokenCompression as error:
                self._broken = str(error)
        self._check()
        if self._data.startswith(BOM_UTF8):
            del self._data[: len(BOM_UTF8)]

    def _stop_timeout(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    def check_announced(self) -> None:
        """Raise PayloadTooLarge for a body that is not even worth reading to its end."""
        length = self._headers.get("Content-Length", "").lstrip("0")
        # int() refuses thousands of digits, and isdigit() alone accepts digits that int() does not.
        if (
            length.isascii()
            and length.isdigit()
            and (len(length) > _MAX_LENGTH_DIGITS or int(length) > self._limit * DRAIN_FACTOR)
        ):
            raise self._refusal()

    def add(self, chunk: bytes) -> None:
        """Collect a chunk, inflated if it is compressed. Once the limit is exceeded or memory is short, everything
        is discarded."""
        if self._too_large or self._no_room or self._broken:
            return
        if self._inflater is not None:
            try:
                chunk = self._inflater.add(chunk)
            except BrokenCompression as error:
                self._broken = str(error)
                self._free()
                return
        size = len(self._data) + len(chunk)
        self._too_large = size > self._limit
        self._no_room = not self._too_large and size > _SMALL and not self._take(len(chunk))
        if self._too_large or self._no_room:
            self._free()  # the rest is still read, within the same time
        else:
            self._data += chunk

    def _take(self, count: int) -> bool:
        if not self._room.take(self._address(), count):
            return False
        self._taken += count
        return True

    def release(self) -> None:
        """Free the bytes, and expect no more of them. May be called again."""
        self._stop_timeout()
        self._free()

    def _free(self) -> None:
        self._data = bytearray()
        if self._taken:
            self._room.give_back(self._address(), self._taken)
            self._taken = 0

    def _check(self) -> None:
        if self._too_large:
            raise self._refusal()
        if self._broken:
            message = f"The body is not compressed as its Content-Encoding says: {self._broken}."
            raise InvalidRequest(message, code="invalid_encoding")
        if self._no_room:
            raise Unavailable(
                "The server is already reading as many large requests as it allows. Try again shortly.",
                code="overloaded",
                headers=retry_headers(_RETRY_MS),
            )

    def _refusal(self) -> PayloadTooLarge:
        return PayloadTooLarge(f"The body is too large; allowed: {self._limit} bytes.")

    @property
    def data(self) -> bytes:
        """All bytes of the body."""
        return bytes(self._data)

    async def read(self, expected: Any, *, lines: bool = False) -> Any:
        """Decode the body like ``decode``, on a thread if that takes long."""
        if takes_long(self._data):
            return await asyncio.to_thread(self.decode, expected, lines=lines)
        return self.decode(expected, lines=lines)

    def decode(self, expected: Any, *, lines: bool = False) -> Any:
        """Decode the body as a typed object or, with ``lines``, as a list with one object for each line.

        Raises InvalidRequest that names the field, or the position in the JSON text.
        """
        self._check_type(_READABLE_LINES if lines else _READABLE)
        decoded = decode_json(self._data, expected, self._json, lines=lines)
        self.ignored = decoded.ignored
        return decoded.value

    def file(self) -> SentFile:
        """Return the body as a file. Raises InvalidRequest for a form without one."""
        self._check_coding()
        return sent_file(self._headers.get("Content-Type", ""), self.data)

    def _check_type(self, readable: tuple[str, ...]) -> None:
        kind = self._headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind not in readable:
            raise UnsupportedMediaType(f"The Content-Type '{kind}' is not supported; allowed: application/json.")
        self._check_coding()

    def _check_coding(self) -> None:
        coding = self._headers.get("Content-Encoding", "identity")
        if self._inflater is None and coding.strip().lower() not in ("", "identity"):
            raise UnsupportedMediaType(
                f"The body has the Content-Encoding '{coding[:64]}'; allowed: gzip, deflate, identity."
            )
