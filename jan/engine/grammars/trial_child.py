"""The child process that compiles an output format for the first time, under limits of CPU time and memory.

The compiler has no time limit, and a format of a few hundred bytes can keep it busy for hours. Here the kernel
ends the process at the limits, and the server continues. A format that crashes the compiler does so here first.

Standard input brings one model's origin and then formats, each in a frame. When it ends, the process ends too, so
it never outlives the server. On standard output the process reports, in frames, which parameter it compiles, and
the result of each format.
"""

import resource
import signal
import sys
import threading
from pathlib import Path
from typing import BinaryIO

import msgspec

from jan.children.framing import HEADER, framed
from jan.engine.formats import OutputFormat
from jan.errors import InvalidRequest

CPU_SECONDS = 1.0
# Bytes, in addition to the process's size before its first format.
_MEMORY_LIMIT = 512 * 2**20


class TrialReport(msgspec.Struct, frozen=True):
    """The result of a format; ``message``: why it is refused. Or, if not ``done``, the parameter that is next."""

    param: str = ""
    message: str = ""
    done: bool = True


def main() -> None:
    """Serve until the input ends, on a thread as in the server, because its stack may be smaller."""
    thread = threading.Thread(target=_serve, args=(sys.stdin.buffer, sys.stdout.buffer))
    thread.start()
    thread.join()


def _serve(source: BinaryIO, sink: BinaryIO) -> None:
    from jan.engine.grammars.constraint import GrammarCompiler

    def send(report: TrialReport) -> None:
        sink.write(framed(msgspec.msgpack.encode(report)))
        sink.flush()

    origin = _read_frame(source)
    if origin is None:
        return
    compiler = GrammarCompiler.of(origin)
    _limit_memory()
    send(TrialReport())
    while (frame := _read_frame(source)) is not None:
        output = msgspec.json.decode(frame, type=OutputFormat)
        # The signal's default action ends the process, also while the compiler runs no Python.
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        report = TrialReport()
        try:
            variants = compiler.variants_of(output)
            compiler.matchers(output, variants, lambda param: send(TrialReport(param=param, done=False)))
        except InvalidRequest as error:
            report = TrialReport(param=error.param or "", message=error.message)
        signal.setitimer(signal.ITIMER_PROF, 0)
        send(report)


def _read_frame(source: BinaryIO) -> bytes | None:
    header = source.read(HEADER)
    length = int.from_bytes(header, "big")
    content = source.read(length) if len(header) == HEADER else b""
    return content if len(header) == HEADER and len(content) == length else None


def _limit_memory() -> None:
    pages = Path("/proc/self/statm")
    if pages.exists():
        most = int(pages.read_text().split()[0]) * resource.getpagesize() + _MEMORY_LIMIT
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
