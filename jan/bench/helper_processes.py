"""Helper processes that are driven by lines of JSON, among them the load."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from jan.bench.bench_error import BenchError
from jan.bench.load_generator import LoadJob, LoadOutcome
from jan.bench.processes import ServerUnderTest, own_environment, own_program

_SETTLE_SECONDS = 0.05


class LineProgram:
    """A module of ours in its own process: reads a line, answers with a line."""

    def __init__(self, module: str, process: "subprocess.Popen[bytes]") -> None:
        self._module = module
        self._process = process

    def send(self, message: msgspec.Struct) -> None:
        """Send one message. Raises BenchError if the process has ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(msgspec.json.encode(message) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._gone() from None

    def receive(self) -> bytes:
        """Wait for the answer. Raises BenchError if the process ends instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._gone()
        return line

    def _gone(self) -> BenchError:
        return BenchError(f"{self._module} has ended with {self._process.wait()}.")


@contextmanager
def line_program(module: str, *arguments: str) -> Iterator[LineProgram]:
    """Run such a program for the time of the block."""
    process = subprocess.Popen(
        own_program(module, *arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=own_environment()
    )
    try:
        yield LineProgram(module, process)
    finally:
        process.kill()
        process.communicate()


class LoadClient:
    """Sends jobs to the load's process."""

    def __init__(self, program: LineProgram) -> None:
        self._program = program

    def run(self, job: LoadJob) -> LoadOutcome:
        """Carry out a job. Raises BenchError if any request was not answered with success."""
        self.begin(job)
        return self.end()

    def run_measured(self, job: LoadJob, server: ServerUnderTest) -> tuple[LoadOutcome, float]:
        """Return the outcome, and the CPU seconds of all of the server's processes. Raises as ``run`` does."""
        before = server.cpu_seconds()
        outcome = self.run(job)
        # A request is logged and settled after its last byte.
        time.sleep(_SETTLE_SECONDS)
        return outcome, server.cpu_seconds() - before

    def begin(self, job: LoadJob) -> None:
        """Start a job without waiting for it."""
        self._program.send(job)

    def end(self) -> LoadOutcome:
        """Wait for the job that was begun. Raises as ``run`` does."""
        outcome = msgspec.json.decode(self._program.receive(), type=LoadOutcome)
        if outcome.failure:
            raise BenchError(outcome.failure)
        return outcome


@contextmanager
def load_client() -> Iterator[LoadClient]:
    """Run a load process for the time of the block."""
    with line_program("jan.bench.load_generator") as program:
        yield LoadClient(program)
