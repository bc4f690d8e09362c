"""A request's body: collected up to a limit, decoded into a typed object, or refused in words."""

import asyncio
from collections import Counter
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import msgspec
from tornado.httputil import HTTPHeaders

from jan.errors import InvalidRequest, PayloadTooLarge, Unavailable, UnsupportedMediaType, when_to_retry
from jan.schema.explain import explain

# A body this much too large is still read, so that its sender hears why; beyond it the connection ends.
DRAIN_FACTOR = 16
# What a body may have without asking for room; nearly all have less, and connections are bounded too.
_SMALL = 64 * 1024
_RETRY_MS = 2000
# As many as a 64-bit number may have; more is more than any limit.
_MAX_LENGTH_DIGITS = 19

# curl's -d says urlencoded when nobody says otherwise; JSON in it is still JSON.
_READABLE = ("application/json", "application/x-www-form-urlencoded", "text/plain", "")
_READABLE_LINES = (*_READABLE, "application/jsonl", "application/x-ndjson")

_BRACKETS = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(set(range(256)) - set(b"{}[]"))
# Up by one level at "[", down by one at "]".
_STEP = (ord("[") + 1).__sub__
# Between two of them another thread may run.
_SLICE = 1 << 16
# Decoding a larger one would hold up everybody on the event loop.
_LARGE = 1 << 18


def nested_deeper(text: bytes | bytearray, levels: int) -> bool:
    """Whether JSON text has more than so many arrays and objects inside each other; no recursion, and no step
    of Python's for each byte. What is no JSON may go either way."""
    if text.count(b"[") + text.count(b"{") <= levels:
        return False
    unescaped = text.replace(rb"\\", b"").replace(rb"\"", b"")
    left = b"".join(unescaped.split(b'"')[::2]).translate(_BRACKETS, _OTHERS)
    # Without its innermost pairs it is one level lower, and as a rule much shorter.
    for height in range(levels + 1):
        if not left:
            return False
        before, left = left, left.replace(b"[]", b"")
        if 2 * len(left) > len(before):
            return _highest(left, height + 1, levels)
    return True


def _highest(brackets: bytes, level: int, levels: int) -> bool:
    """Whether a line of brackets that begins at a level goes above so many."""
    for start in range(0, len(brackets), _SLICE):
        path = list(accumulate(map(_STEP, brackets[start : start + _SLICE]), initial=level))
        if max(path) > levels:
            return True
        level = path[-1]
    return False


class BodyRoom:
    """Memory for the bodies that are being read, since that is before their senders are known. An address may hold
    no more than what is still free, so that one alone gets half of it, and there is room for somebody new."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._held: Counter[str] = Counter()

    def take(self, address: str, count: int) -> bool:
        """Whether there is room for so many bytes more."""
        if self._held[address] + count > self._free:
            return False
        self._free -= count
        self._held[address] += count
        return True

    def give_back(self, address: str, count: int) -> None:
        """So many bytes are free again."""
        self._free += count
        self._held[address] -= count
        if not self._held[address]:
            del self._held[address]


class Body:
    """The bytes of one request; ``address`` tells whose they are. To be released, however the request ends."""

    def __init__(
        self, headers: HTTPHeaders, limit: int, max_depth: int, room: BodyRoom, address: Callable[[], str]
    ) -> None:
        self._headers = headers
        self._max_depth = max_depth
        self._limit = limit
        self._room = room
        self._address = address
        self._taken = 0
        self._data = bytearray()
        self._too_large = self._no_room = False

    def check_announced(self) -> None:
        """Raises PayloadTooLarge for a body that is not even worth reading to its end."""
        length = self._headers.get("Content-Length", "").lstrip("0")
        # Python makes no int of thousands of digits, and isdigit() alone takes digits that int() does not.
        if (
            length.isascii()
            and length.isdigit()
            and (len(length) > _MAX_LENGTH_DIGITS or int(length) > self._limit * DRAIN_FACTOR)
        ):
            raise self._refusal()

    def add(self, chunk: bytes) -> None:
        """Collect; what is over the limit, or has no room, is thrown away."""
        if self._too_large or self._no_room:
            return
        size = len(self._data) + len(chunk)
        self._too_large = size > self._limit
        self._no_room = not self._too_large and size > _SMALL and not self._take(len(chunk))
        if self._too_large or self._no_room:
            self.release()
        else:
            self._data += chunk

    def _take(self, count: int) -> bool:
        if not self._room.take(self._address(), count):
            return False
        self._taken += count
        return True

    def release(self) -> None:
        """Forget the bytes; harmless when repeated."""
        self._data = bytearray()
        if self._taken:
            self._room.give_back(self._address(), self._taken)
            self._taken = 0

    def check(self) -> None:
        """Raises PayloadTooLarge if more came than the limit, Unavailable if there was no room for it."""
        if self._too_large:
            raise self._refusal()
        if self._no_room:
            raise Unavailable(
                "this server is reading as many large requests as it takes; try again shortly",
                code="overloaded",
                headers=when_to_retry(_RETRY_MS),
            )

    def _refusal(self) -> PayloadTooLarge:
        return PayloadTooLarge(f"the body is larger than the {self._limit} bytes that this server takes")

    @property
    def data(self) -> bytes:
        """All of it."""
        return bytes(self._data)

    async def read(self, expected: Any, *, lines: bool = False) -> Any:
        """As ``decode``; on a thread where it takes a while."""
        if len(self._data) > _LARGE:
            return await asyncio.to_thread(self.decode, expected, lines=lines)
        return self.decode(expected, lines=lines)

    def decode(self, expected: Any, *, lines: bool = False) -> Any:
        """The body as a typed object, or with ``lines`` as a list of one a line; the error names the field, or
        the position in the JSON text."""
        self._check_type(_READABLE_LINES if lines else _READABLE)
        if nested_deeper(self._data, self._max_depth):
            message = (
                f"the body is nested too deeply, more than the {self._max_depth} levels that this server takes"
            )
            raise InvalidRequest(message, code="json_too_deep")
        decoder = msgspec.json.Decoder(expected)
        try:
            return decoder.decode_lines(self._data) if lines else decoder.decode(self._data)
        except msgspec.ValidationError as error:
            why = explain(error, list[expected] if lines else expected)
            message = f"{why.path}: {why.message}" if why.path else why.message
            raise InvalidRequest(message, code="invalid_value", param=why.path or None) from None
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"the body is not valid UTF-8: {error.reason}", code="invalid_json") from None
        except msgspec.DecodeError as error:
            what = str(error) if self._data else "it is empty"
            if "truncated" in what:
                what = f"it ends too early (byte {len(self._data)})"
            raise InvalidRequest(f"the body is not valid JSON: {what}", code="invalid_json") from None
        except RecursionError:
            raise InvalidRequest("the body is nested too deeply", code="invalid_json") from None

    def _check_type(self, readable: tuple[str, ...]) -> None:
        kind = self._headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind not in readable:
            raise UnsupportedMediaType(f"the body's Content-Type is '{kind}'; this server reads application/json")
        if self._headers.get("Content-Encoding", "identity").lower() != "identity":
            raise UnsupportedMediaType("the body is compressed; this server reads plain bodies (identity) only")
