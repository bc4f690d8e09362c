"""Files of other applications' conversations. However a file is cut, the same conversations are in it; each is
imported whole, or left out with a reason."""

import json
from collections.abc import Iterable
from functools import cache
from typing import Any, get_args

import msgspec
from support.foreign_exports import MAKERS, session_lines

from fuzz.given import Given, cut
from fuzz.json_mutations import mutated
from jan.conversations.history import check_message
from jan.conversations.restored import copy_of
from jan.idempotency.ids import IdSource
from jan.importing.kinds import ReadConversation, read_pieces
from jan.importing.pieces import LARGEST, Piece, joined, pieces, without_media
from jan.schema.import_reports import ForeignKind
from jan.storage.records import MessageRecord, now

_SOURCES: tuple[ForeignKind | None, ...] = (None, *get_args(ForeignKind))
_SIZES = (1, 2, 3, 7, 64, 1000)
# Smaller than some of the objects that a file of 4 kB has.
_LARGEST = (LARGEST, LARGEST, 100, 1000)
_BEGINNING = 3


def words() -> Iterable[bytes]:
    """Yield the names that files are made of, and what stands between their objects."""
    yield from (b'"%b":' % name.encode() for name in _names())
    yield from (
        b"}\n{",
        b"},{",
        b"]",
        b"[",
        b'\\"',
        b"\\\\",
        b"\xef\xbb\xbf",
        b'"\\ud800"',
        b'"\\u0000"',
        b"1e400",
    )
    yield from (b"data:image/png;base64,", b"<details", b"</details>", b"<think>", b"</think>", b"<summary>")


def seeds() -> Iterable[bytes]:
    """Yield a file of each application, one by itself and two in an array, and sessions as lines."""
    for place, make in enumerate(MAKERS.values()):
        one = json.dumps(make(place), separators=(",", ":")).encode()
        yield bytes([0, place, 0]) + one
        yield bytes([place + 1, 4, 2]) + b"[%b,%b]" % (one[:1900], b"{}")
    yield bytes([0, 1, 0]) + session_lines(1).encode()


@cache
def _names() -> tuple[str, ...]:
    found: dict[str, None] = {}

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            found.update(dict.fromkeys(value))
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            collect(inner)

    for make in MAKERS.values():
        collect(make(1))
    return tuple(found)


def mutate(data: bytes, seed: int) -> bytes | None:
    """Change a file so that it stays JSON; None if it is none."""
    changed = mutated(data[_BEGINNING:], _names(), seed)
    return None if changed is None else data[:_BEGINNING] + changed


def check(data: bytes) -> None:
    """Read one file in one piece and in many, and make copies of its conversations as an import does."""
    given = Given(data)
    source, size, largest = given.one_of(_SOURCES), given.one_of(_SIZES), given.one_of(_LARGEST)
    file = given.rest()
    found = list(pieces([file], largest))
    assert found == list(pieces(cut(file, size), largest))
    assert [piece.number for piece in found] == [*range(1, len(found) + 1)]
    _check_all_found(file, found, largest)
    whole = list(joined(found, largest))
    read = read_pieces(whole, source, "user_1", check_message)
    assert len(read) == len(whole)
    for one in read:
        _check_read(one)
    _check_without_media(whole, read, source)


def _check_all_found(file: bytes, found: list[Piece], largest: int) -> None:
    """Check that the objects of a right file are found as they are."""
    try:
        root = json.loads(file.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return
    objects = root if isinstance(root, list) else [root]
    if largest != LARGEST or not all(isinstance(one, dict) for one in objects):
        return
    assert [json.loads(piece.data) for piece in found] == objects


def _check_read(one: ReadConversation) -> None:
    """Check that a conversation can be stored, and that nothing is left out in silence."""
    msgspec.json.encode(one.skipped)
    assert all(item.reason for item in one.skipped)
    if one.record is None:
        assert len(one.skipped) == 1, one.skipped
        return
    assert one.record.origin
    assert one.record.created_at <= one.record.updated_at <= now()
    copy, copies = copy_of("user_1", one.record, one.messages, IdSource())
    assert copy.message_count == len(copies) > 0
    for message in copies:
        written = msgspec.json.encode(message)
        assert msgspec.json.encode(msgspec.json.decode(written, type=MessageRecord)) == written


def _check_without_media(whole: list[Piece], read: list[ReadConversation], source: ForeignKind | None) -> None:
    """Check that what a sender leaves out of large conversations is nothing that is imported."""
    sent = [msgspec.structs.replace(piece, data=without_media(piece.data)) for piece in whole]
    for one, other in zip(read, read_pieces(sent, source, "user_1", check_message), strict=True):
        assert (one.kind, len(one.messages)) == (other.kind, len(other.messages))
        assert [message.content for message in one.messages] == [message.content for message in other.messages]
