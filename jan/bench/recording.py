"""An answer of our own server, kept as bytes for other servers to send."""

import http.client
import re
import socket
from functools import lru_cache
from itertools import cycle, islice
from pathlib import Path

import msgspec

from jan.bench.bench_error import BenchError
from jan.bench.ours import CHAT
from jan.bench.raw_http import AnswerReader, request

_NUMBER = re.compile(rb"^id: \d+\n")
# Several words, because proxies end a stream that repeats one word, as a sign of a broken model.
_SPOKEN = ("wood ", "lake ", "moss ", "fern ", "rain ", "snow ", "wind ", "leaf ")
_LAST_CHUNK = b"0\r\n\r\n"
_EVENT_END = b"\n\n"
#: Frames of a stream that are no tokens: the role, the finish reason, the usage, and [DONE].
FRAMES_AROUND = 4
_TIMEOUT_SECONDS = 30.0
_ENDING = 3


class Recording(msgspec.Struct, frozen=True):
    """A stream's head and frames without transfer encoding, and a whole answer with its head."""

    head: bytes
    opening: bytes
    pieces: tuple[bytes, ...]
    ending: tuple[bytes, ...]
    whole: bytes

    def stream(self, tokens: int) -> list[bytes]:
        """Return the writes of a stream of ``tokens`` tokens, one a frame, numbered and encoded as recorded."""
        pieces = [self.pieces[number % len(self.pieces)] for number in range(tokens)]
        frames = [self.opening, *pieces, *self.ending]
        numbered = [_NUMBER.sub(b"id: %d\n" % (number + 1), frame) for number, frame in enumerate(frames)]
        chunks = [b"%x\r\n%b\r\n" % (len(frame), frame) for frame in numbered]
        return [self.head + chunks[0], *chunks[1:], _LAST_CHUNK]

    def save(self, file: Path) -> None:
        """Write it to a file, for ``load_recording`` in another process."""
        file.write_bytes(msgspec.json.encode(self))

    def template(self) -> bytes:
        """Return the JSON of one piece, for servers that make their frames themselves."""
        return self.pieces[0].partition(b"data: ")[2].strip()


def load_recording(file: Path) -> Recording:
    """Read what ``save`` has written."""
    return msgspec.json.decode(file.read_bytes(), type=Recording)


@lru_cache(maxsize=16)
def stream_of(recording: Recording, tokens: int) -> list[bytes]:
    """Return the writes of a stream, made only once for each length."""
    return recording.stream(tokens)


def chat_body(model: str, words: int, *, stream: bool = True) -> dict[str, object]:
    """Return a chat request of one message with ``words`` short words, which the echo engine repeats."""
    text = "".join(islice(cycle(_SPOKEN), words))
    body: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": text}]}
    return {**body, "stream": True, "stream_options": {"include_usage": True}} if stream else body


def record(port: int, model: str, words: int = 64) -> Recording:
    """Ask our server for a stream of ``words`` tokens and for a whole answer.

    ``model`` must be so slow that no tokens are merged. Raises BenchError if there are fewer frames than tokens.
    """
    head, _, body = _ask(port, request(CHAT, {**chat_body(model, words), "max_tokens": words})).partition(
        b"\r\n\r\n"
    )
    frames = _frames(body)
    if len(frames) != words + FRAMES_AROUND:
        came = len(frames) - FRAMES_AROUND
        raise BenchError(f"{words} tokens came in {came} frames, so nothing can be recorded.")
    whole = _ask(port, request(CHAT, {**chat_body(model, words, stream=False), "max_tokens": words}))
    return Recording(
        head=head + b"\r\n\r\n",
        opening=frames[0],
        pieces=tuple(frames[1:-_ENDING]),
        ending=tuple(frames[-_ENDING:]),
        whole=whole,
    )


def _ask(port: int, data: bytes) -> bytes:
    """Return all bytes of the answer to a request."""
    received, reader, ended = b"", AnswerReader(), False
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_SECONDS) as connection:
        connection.sendall(data)
        while not ended and (data := connection.recv(65536)):
            received += data
            ended = reader.feed(data)[1]
    if reader.status != http.client.OK:
        raise BenchError(f"Nothing can be recorded: the answer has status {reader.status}.")
    return received


def _frames(body: bytes) -> list[bytes]:
    """Split a chunked body into its events, however many of them a chunk has; comments are left out."""
    stream = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        stream += rest[:length]
        body = rest[length + 2 :] if length else b""
    events = stream.split(_EVENT_END)[:-1]
    return [event + _EVENT_END for event in events if not event.startswith(b":")]
