"""Decodes the JSON of a body into a typed object, and says in words what is wrong with it."""

import re
from functools import lru_cache
from typing import Any, get_args

import msgspec

from jan.errors import InvalidRequest
from jan.http.json_structure import has_more_members, lines_in_pieces, members_at_most, nested_deeper
from jan.http.malformed import reason_of_malformed
from jan.schema.explain import explain, wrong_key
from jan.schema.open_body import OpenStruct, has_unknown, without_unknown

# Decoding more would block the event loop for too long: bytes, and objects, arrays and names.
_LARGE = 1 << 18
_MANY = 2000
# Bytes of lines that are decoded at a time. Between two pieces another thread may run.
_PIECE = 1 << 16
# Where a decoder says that something is: the number of the line, and of the byte.
_LINE = re.compile(r"(?<=`\$\[)\d+(?=\])")
_BYTE = re.compile(r"(?<=\(byte )\d+(?=\))")


class JsonLimits(msgspec.Struct, frozen=True):
    """Limits of JSON text: levels of nesting; objects, arrays and names together (of lines: in one line)."""

    depth: int
    members: int


class Decoded(msgspec.Struct, frozen=True):
    """A decoded body, and the paths of names in it that nothing here knows. They were left out."""

    value: Any
    ignored: tuple[str, ...] = ()


def takes_long(data: bytes | bytearray) -> bool:
    """Return True if JSON text should be decoded on a thread of its own."""
    return len(data) > _LARGE or members_at_most(data) > _MANY


def decode_json(data: bytes | bytearray, expected: Any, limits: JsonLimits, *, lines: bool = False) -> Decoded:
    """Decode JSON text as a typed object or, with ``lines``, as a list with one object for each line.

    Raises InvalidRequest that names the field, or the position in the text.
    """
    if nested_deeper(data, limits.depth):
        message = f"The body is nested too deeply; allowed: {limits.depth} levels."
        raise InvalidRequest(message, code="json_too_deep")
    decoder = _decoder_of(expected)
    try:
        if lines:
            return Decoded(_decode_lines(data, decoder, limits.members))
        _check_members(data, limits.members)
        return _decode_one(data, decoder)
    except msgspec.ValidationError as error:
        if lines:
            raise _wrong_value(error, None, list[expected]) from None
        raise _wrong_value(error, _document_of(data), expected) from None
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The body is not valid UTF-8: {error.reason}.", code="invalid_json") from None
    except msgspec.DecodeError as error:
        what = reason_of_malformed(str(error), data)
        raise InvalidRequest(f"The body is not valid JSON: {what}.", code="invalid_json") from None
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.", code="invalid_json") from None


@lru_cache(256)
def _decoder_of(expected: Any) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(expected)


def _check_members(data: bytes | bytearray, most: int) -> None:
    if has_more_members(data, most):
        message = f"The body has too many objects, arrays and names; allowed: {most} together."
        raise InvalidRequest(message, code="json_too_complex")


def _decode_one(data: bytes | bytearray, decoder: "msgspec.json.Decoder[Any]") -> Decoded:
    """Decode one object, without names that nobody knows where any may stand.

    No body is null where the operation takes null.
    """
    ignored: tuple[str, ...] = ()
    try:
        value = decoder.decode(data or (b"null" if type(None) in get_args(decoder.type) else b""))
    except msgspec.ValidationError as error:
        if not has_unknown(error):
            raise
        known, ignored = without_unknown(msgspec.Raw(bytes(data).strip()), decoder.type)
        value = decoder.decode(msgspec.json.encode(known))
    if isinstance(value, OpenStruct):
        value.keep_sent(data)
    return Decoded(value, ignored)


def _decode_lines(data: bytes | bytearray, decoder: "msgspec.json.Decoder[Any]", most: int) -> list[Any]:
    """Decode lines, some at a time. Errors have the numbers of the line and the byte in the whole text."""
    found: list[Any] = []
    start = 0
    for piece in lines_in_pieces(data, _PIECE):
        _check_members(piece, most)
        try:
            found += decoder.decode_lines(piece)
        except msgspec.DecodeError as error:
            said = _raised(_BYTE, _raised(_LINE, str(error), len(found)), start)
            raise type(error)(said) from None
        start += len(piece)
    return found


def _raised(pattern: re.Pattern[str], text: str, by: int) -> str:
    """Return a text with the number that a pattern finds raised by ``by``."""
    return pattern.sub(lambda number: str(int(number[0]) + by), text)


def _document_of(data: bytes | bytearray) -> Any:
    """Return JSON text decoded without a type; None if it is malformed after the first wrong value."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _wrong_value(error: msgspec.ValidationError, document: Any, expected: Any) -> InvalidRequest:
    why = explain(error, expected, document)
    message = f"{why.path}: {why.message}" if why.path else why.message
    if key := wrong_key(document, why.path, expected):
        message = f"{message} The key is '{key[:64]}'."
    return InvalidRequest(message, code="invalid_value", param=why.path or None)
