"""How long tests wait: for what comes, as long as a busy machine takes; for what never comes, not for ever."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from support.forked import ForkedProcess

    Process = subprocess.Popen[str] | subprocess.Popen[bytes] | ForkedProcess

Item = TypeVar("Item")

SECONDS = 60.0
# Until what was killed is gone.
_GONE_SECONDS = 10


def until(condition: Callable[[], object], seconds: float = SECONDS) -> bool:
    """Wait for a condition; return True if it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def in_time(items: Iterable[Item], seconds: float = SECONDS) -> Iterator[Item]:
    """Yield the items of a stream until its end, which must come in time even if keep-alives do."""
    deadline = time.monotonic() + seconds
    for item in items:
        assert time.monotonic() < deadline, "the stream does not end"
        yield item


@contextmanager
def otherwise(give_up: Callable[[], object], seconds: float = SECONDS) -> Iterator[None]:
    """Give up, in another thread, where what is done inside takes too long; it must end by that."""
    impatient = threading.Timer(seconds, give_up)
    impatient.daemon = True
    impatient.start()
    try:
        yield
    finally:
        impatient.cancel()


def code_of(process: "Process", seconds: float) -> int | None:
    """A process's exit code; None if it did not end in time and was killed."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        kill(process)
        return None


def kill(process: "Process") -> None:
    """End a process, whatever it does."""
    process.kill()
    process.wait(_GONE_SECONDS)


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """An HTTP server of a test's own, in threads that nobody waits for; its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        # Its end comes when it looks for it.
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
