"""Places to go on from: cursors of lists, queries, and the number of the last event of a stream."""

from collections.abc import Callable, Iterable
from urllib.parse import parse_qs, quote

from fuzz.event_loop import runner
from fuzz.given import Given
from fuzz.refusals import check_refusal
from handlers.openai.chat.events import EventsQuery, _number
from jan.errors import JanError
from jan.http.query import decode_query
from jan.http.sse import DONE
from jan.http.stream_log import StreamLog
from jan.schema.paging import PageQuery
from jan.storage.paging import id_of, position_of, sequence_of

_FRAMES = [b"id: %d\ndata: {}\n\n" % number for number in range(1, 200)]
_DROPPED = 20


def words() -> Iterable[bytes]:
    """Yield parts of cursors and queries."""
    yield from b"cursor= limit= last_event_id= user_ 0123456789ab. conv_ %00 & \n 1e3 +1 %ff 0x1".split(b" ")
    yield from (b"999999999999999", b"\xd9\xa1", b"\xc2\xb2", b" 1", b"\x00")


def seeds() -> Iterable[bytes]:
    """Yield right places of each kind."""
    places = (b"cursor=user_1&limit=5", b"last_event_id=5", b"0123456789ab.conv_1", b"user_1", b"17", b"150")
    yield from (bytes([number]) + place for number, place in enumerate(places))


def check(data: bytes) -> None:
    """Read one place, and go on from it."""
    given = Given(data)
    try:
        given.one_of(_KINDS)(given.rest())
    except JanError as error:
        check_refusal(error)


def _page(query: bytes) -> None:
    found = decode_query(_arguments(query), PageQuery)
    assert 1 <= found.limit <= 500
    for read in (position_of, id_of, sequence_of):
        _cursor(read, found.cursor)


def _events(query: bytes) -> None:
    found = decode_query(_arguments(query), EventsQuery)
    _resume((found.last_event_id or "0").encode())


def _arguments(query: bytes) -> dict[str, list[bytes]]:
    found = parse_qs(query.decode("latin1"), keep_blank_values=True, encoding="latin1")
    return {name: [value.encode("latin1") for value in values] for name, values in found.items()}


def _cursor(read: Callable[[str | None], object], cursor: str | None) -> None:
    """Read a cursor. One that is taken is printable, and needs no more room than a list's own."""
    read(cursor)
    if cursor is not None:
        assert cursor.isascii()
        assert quote(cursor)
        assert cursor.isprintable()


def _position(text: bytes) -> None:
    _cursor(position_of, text.decode(errors="replace"))


def _id(text: bytes) -> None:
    _cursor(id_of, text.decode(errors="replace"))


def _sequence(text: bytes) -> None:
    _cursor(sequence_of, text.decode(errors="replace"))


def _resume(text: bytes) -> None:
    """Go on after an event: all later ones come, each once."""
    number = _number(text.decode("latin1"))
    sent = runner().run(_rest_after(number))
    assert sent == b"".join(_FRAMES[number:]) + DONE


async def _rest_after(number: int) -> bytes:
    log = StreamLog("chatcmpl-1", "user_1")
    for frame in _FRAMES:
        log.append(frame)
    for _ in range(_DROPPED):
        log.drop_oldest()
    log.end(None)
    return b"".join([frames async for frames in log.after(number)])


_KINDS = (_page, _events, _position, _id, _sequence, _resume)
