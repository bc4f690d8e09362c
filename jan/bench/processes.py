"""Programs that run beside the harness, on loopback and for a bounded time, and the CPU and memory they use."""

import http.client
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from jan.bench.bench_error import BenchError

_START_SECONDS = 120.0
_STOP_SECONDS = 15.0
# For a thousand connections at once, in the server and in its load.
_OPEN_FILES = 8192


def allow_many_connections() -> None:
    """Raise this process's limit of open files as far as the system lets it; programs started here inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class ServerUnderTest:
    """A running server in its own process."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", port: int, output: Path) -> None:
        self.name = name
        self.port = port
        self._process = process
        self._output = output

    @property
    def pid(self) -> int:
        """Process id of its first process."""
        return self._process.pid

    @property
    def output(self) -> str:
        """All text it has printed."""
        return self._output.read_text(errors="replace")

    def find(self, pattern: str) -> str:
        """Return the first group of ``pattern`` in its output. Raises BenchError if it is not there."""
        found = re.search(pattern, self.output)
        if found is None:
            raise BenchError(f"{self.name} did not print what was expected ({pattern}).")
        return found[1]

    def _family(self) -> list[psutil.Process]:
        try:
            first = psutil.Process(self.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            raise BenchError(f"{self.name} has ended: {self._last_words()}.") from None

    def cpu_seconds(self) -> float:
        """CPU time used so far by all of its processes, in seconds."""
        total = 0.0
        for process in self._family():
            with suppress(psutil.NoSuchProcess, OSError):
                total += _cpu_seconds(process)
        return total

    def resident_bytes(self) -> int:
        """Resident memory of all of its processes, in bytes."""
        total = 0
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total

    def wait_until_ready(self, path: str, timeout: float, pause: float = 0.02) -> None:
        """Wait until ``path`` is answered with 200. Raises BenchError after ``timeout`` seconds, or if it ends."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise BenchError(f"{self.name} ended with {self._process.returncode}: {self._last_words()}.")
            if answers(self.port, path):
                return
            time.sleep(pause)
        raise BenchError(f"{self.name} was not ready after {timeout:g} s: {self._last_words()}.")

    def _last_words(self) -> str:
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return lines[-1].rstrip(".") if lines else "it printed nothing"

    def stop(self) -> None:
        """Terminate it; after 15 seconds kill it, and its children in any case."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()


def _cpu_seconds(process: psutil.Process) -> float:
    """CPU seconds of one process, including its threads that have ended."""
    if sys.platform == "linux":
        # Its CPU clock, as clock_getcpuclockid(3) makes it: to the nanosecond, where /proc counts hundredths.
        return time.clock_gettime((~process.pid << 3) | 2)
    times = process.cpu_times()
    return float(times.user + times.system)


def answers(port: int, path: str) -> bool:
    """Return True if a GET of ``path`` is answered with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def serving(
    name: str,
    command: Sequence[str],
    port: int,
    folder: Path,
    *,
    ready: str = "/ready",
    environ: Mapping[str, str],
    timeout: float = _START_SECONDS,
) -> Iterator[ServerUnderTest]:
    """Start a server on ``port``, wait until it answers ``ready``, and stop it at the end of the block.

    It runs in ``folder``, which keeps its output. Raises BenchError if it does not start.
    """
    output = folder / f"{name.replace(' ', '-').replace('/', '-')}-{port}.log"
    with output.open("wb") as log:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise BenchError(f"{name} cannot be started: {error.strerror}.") from error
    server = ServerUnderTest(name, process, port, output)
    try:
        server.wait_until_ready(ready, timeout)
        yield server
    finally:
        server.stop()


def own_program(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of ours in this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def own_environment(checkout: Path | None = None) -> dict[str, str]:
    """Return the environment in which such a program finds this code, or another checkout's, wherever it runs."""
    code = checkout or Path(__file__).resolve().parent.parent.parent
    path = os.pathsep.join(filter(None, (str(code), os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": path}
