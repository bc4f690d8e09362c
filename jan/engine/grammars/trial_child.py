"""The process in which an output format is compiled for the first time: there it can be ended.

The compiler has no time limit, and a format of a few hundred bytes can take it hours. Here the kernel counts: what
takes more CPU time or memory than is allowed ends the process, and the server goes on. Whatever else a format does
to the compiler, it does it here first.

It hears one model's origin, then formats, each in a frame on its standard input, and ends with that: it does not
outlive the server. It tells what it is at, and how each came out, in frames on its standard output.
"""

import resource
import signal
import sys
import threading
from pathlib import Path
from typing import BinaryIO

import msgspec

from jan.engine.formats import OutputFormat
from jan.errors import InvalidRequest

CPU_SECONDS = 1.0
# Above what the process takes before its first format.
_MEMORY = 512 * 2**20

HEADER = 4


class TrialReport(msgspec.Struct, frozen=True):
    """How a format came out, ``message`` being why it is refused; with ``done`` False, which parameter is next."""

    param: str = ""
    message: str = ""
    done: bool = True


def framed(content: bytes) -> bytes:
    """A frame: its length, and the content."""
    return len(content).to_bytes(HEADER, "big") + content


def main() -> None:
    """Serve until the input ends. On a thread, as in the server: its stack may be smaller than the first one's."""
    thread = threading.Thread(target=_serve, args=(sys.stdin.buffer, sys.stdout.buffer))
    thread.start()
    thread.join()


def _serve(source: BinaryIO, sink: BinaryIO) -> None:
    from jan.engine.grammars.constraint import GrammarCompiler

    def tell(report: TrialReport) -> None:
        sink.write(framed(msgspec.msgpack.encode(report)))
        sink.flush()

    origin = _next(source)
    if origin is None:
        return
    compiler = GrammarCompiler.of(origin)
    _bound_memory()
    tell(TrialReport())
    while (frame := _next(source)) is not None:
        output = msgspec.msgpack.decode(frame, type=OutputFormat)
        # The signal's default is to end the process, also while the compiler holds it and runs no Python.
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        report = TrialReport()
        try:
            compiler.matchers(output, compiler.variants, lambda param: tell(TrialReport(param=param, done=False)))
        except InvalidRequest as error:
            report = TrialReport(param=error.param or "", message=error.message)
        signal.setitimer(signal.ITIMER_PROF, 0)
        tell(report)


def _next(source: BinaryIO) -> bytes | None:
    header = source.read(HEADER)
    length = int.from_bytes(header, "big")
    content = source.read(length) if len(header) == HEADER else b""
    return content if len(header) == HEADER and len(content) == length else None


def _bound_memory() -> None:
    pages = Path("/proc/self/statm")
    if pages.exists():
        most = int(pages.read_text().split()[0]) * resource.getpagesize() + _MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
