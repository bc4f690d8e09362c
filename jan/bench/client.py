"""The load's process, seen from the harness."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from jan.bench.errors import BenchError
from jan.bench.load import Job, Outcome
from jan.bench.processes import own_environment, own_program


class LoadClient:
    """Has jobs carried out by the load's process."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def run(self, job: Job) -> Outcome:
        """Raises BenchError if any answer was none."""
        self.begin(job)
        return self.end()

    def begin(self, job: Job) -> None:
        """Have it carried out beside what this process does."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(job) + b"\n")
        self._process.stdin.flush()

    def end(self) -> Outcome:
        """Wait for what was begun; raises as ``run`` does."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError("the load's process has ended")
        outcome = msgspec.json.decode(line, type=Outcome)
        if outcome.failure:
            raise BenchError(outcome.failure)
        return outcome


@contextmanager
def load_client() -> Iterator[LoadClient]:
    """A load process for the time of the block."""
    process = subprocess.Popen(
        own_program("jan.bench.load"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=own_environment(),
    )
    try:
        yield LoadClient(process)
    finally:
        process.kill()
        process.communicate()
