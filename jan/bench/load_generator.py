"""The load: many connections from one event loop, in its own process. `python -m jan.bench.load_generator`.

Reads jobs as lines of JSON on its standard input and prints an outcome for each. Its CPU time is not counted as
the server's, but both share a machine, so it does as little as possible.
"""

import asyncio
import re
import sys
import time

import msgspec

from jan.bench.raw_http import AnswerReader

# The first piece of text: the opening frame, which only has the role, has an empty one.
_PIECE = re.compile(rb'"(?:content|text|delta)": ?"[^"]')
_TOKENS = re.compile(rb'"(?:completion_tokens|output_tokens|eval_count)": ?(\d+)')
_LONGEST_BODY_SHOWN = 300
# The usage is in the last frame but one.
_TAIL = 1500


class LoadJob(msgspec.Struct, frozen=True):
    """A job of the load: ``connections`` send the ``requests`` in turn.

    - ``repeats``: requests of each connection. 0: go on for ``seconds``.
    - ``timeout``: seconds after which the job is given up.
    - ``watch``: keep the times between frames.
    - ``frames``: frames of an answer whose tokens all come in frames of their own.
    - ``mark``: bytes that each frame has once.
    """

    port: int
    requests: tuple[bytes, ...]
    connections: int = 1
    repeats: int = 1
    seconds: float = 0.0
    timeout: float = 120.0
    watch: bool = False
    frames: int = 0
    mark: bytes = b"data: "


class LoadOutcome(msgspec.Struct):
    """The outcome of a job. All times are in seconds.

    - ``frames``: number of frames, by the job's mark.
    - ``reads``: pieces of data received.
    - ``merged``: answers with fewer frames than the job's.
    - ``tokens``: generated tokens, as the server counts them.
    - ``first``: times from a request to the first text of its answer.
    - ``latencies``: times from a request to the end of its answer.
    - ``gaps``: times between two pieces of an answer.
    - ``failure``: the first request that was not answered with success.
    """

    seconds: float = 0.0
    answers: int = 0
    frames: int = 0
    reads: int = 0
    merged: int = 0
    tokens: int = 0
    first: list[float] = []
    latencies: list[float] = []
    gaps: list[float] = []
    failure: str = ""


class LoadConnection(asyncio.Protocol):
    """Sends the next request when the answer to the last one is complete."""

    def __init__(self, job: LoadJob, number: int, outcome: LoadOutcome, deadline: float) -> None:
        self._job = job
        self._number = number
        self._outcome = outcome
        self._deadline = deadline
        self._reader = AnswerReader()
        self._sent = self._last = 0.0
        self._count = self._frames = 0
        self._first_seen = False
        self._tail = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        requests = self._job.requests
        turn = self._number + self._count * self._job.connections
        self._first_seen, self._tail, self._frames = False, b"", 0
        self._sent = self._last = time.perf_counter()
        self._transport.write(requests[turn % len(requests)])

    def data_received(self, data: bytes) -> None:
        """Count frames, and notice the end of an answer."""
        body, ended = self._reader.feed(data)
        # The carried-over part is shorter than a mark, so that no mark is counted twice.
        mark = self._job.mark
        seen = self._tail[1 - len(mark) :] + body
        frames = seen.count(mark)
        self._tail = (self._tail + body)[-_TAIL:]
        self._frames += frames
        self._outcome.reads += 1
        if not self._first_seen and _PIECE.search(seen):
            self._first_seen = True
            self._outcome.first.append(time.perf_counter() - self._sent)
        elif frames and self._job.watch and self._first_seen:
            self._outcome.gaps.append(time.perf_counter() - self._last)
        if self._job.watch:
            self._last = time.perf_counter()
        if ended:
            self._finish()

    def _finish(self) -> None:
        now = time.perf_counter()
        outcome, reader = self._outcome, self._reader
        if reader.status // 100 != 2:
            text = self._tail.decode(errors="replace")
            outcome.failure = (
                outcome.failure or f"An answer had status {reader.status}: {text[:_LONGEST_BODY_SHOWN]}."
            )
        if found := _TOKENS.findall(self._tail):
            # Counts at the beginning of an answer are not those of its end.
            outcome.tokens += int(found[-1])
        outcome.frames += self._frames
        outcome.merged += self._frames < self._job.frames
        outcome.answers += 1
        outcome.latencies.append(now - self._sent)
        self._count += 1
        reader.next()
        more = self._count < self._job.repeats if self._job.repeats else now < self._deadline
        if more and not outcome.failure:
            self._send()
        else:
            self._transport.close()

    def drop(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note an end within an answer, and that this connection is done."""
        if self._count < max(1, self._job.repeats) and not self._outcome.failure:
            self._outcome.failure = f"A connection ended within an answer: {exc or 'closed by the server'}."
        if not self.done.done():
            self.done.set_result(None)


async def run(job: LoadJob) -> LoadOutcome:
    """Carry out one job."""
    loop, outcome = asyncio.get_running_loop(), LoadOutcome()
    began = time.perf_counter()
    made: list[LoadConnection] = []
    try:
        async with asyncio.timeout(job.timeout):
            for number in range(job.connections):
                connection = LoadConnection(job, number, outcome, began + job.seconds)
                await loop.create_connection(lambda one=connection: one, "127.0.0.1", job.port)  # type: ignore[misc]
                made.append(connection)
            await asyncio.gather(*(connection.done for connection in made))
    except TimeoutError:
        outcome.failure = f"The load was not done after {job.timeout:g} s."
    except OSError as error:
        outcome.failure = f"A connection failed: {error}."
    outcome.seconds = time.perf_counter() - began
    for connection in made:
        connection.drop()
    return outcome


def main() -> None:
    """Read jobs and print outcomes until the input ends."""
    for line in sys.stdin.buffer:
        outcome = asyncio.run(run(msgspec.json.decode(line, type=LoadJob)))
        sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
