"""The child processes: one reads Markdown, job after job, one reads a single PDF. Both have limits."""

import os
import resource
import select
import signal
import time
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from jan.children.framing import HEADER, framed
from jan.rendering.blocks import FileJob, FileText, Rendered, RenderJob, plain
from jan.rendering.time_limit import TooSlow, at_most

# CPU time of a text. One that takes longer is shown as it is written.
_TEXT_SECONDS = 2.0
_PDF_SECONDS = 15.0
# CPU time until the process is ended, which also ends what notices no signal.
_MORE_SECONDS = 2.0
_MEMORY_BYTES = 512 << 20
# The process costs memory while it waits.
_IDLE_SECONDS = 60.0
# HTML that is this many times longer than its text, beyond the first part, is not sent.
_MOST_TIMES, _FIRST_PART = 40, 1 << 16


def main(kind: str) -> None:
    """Do the jobs that come through standard input until it ends, or until nothing has come for a minute."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Libraries write to standard output whenever they like: for them it is standard error.
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    source = os.fdopen(os.dup(0), "rb", buffering=0)
    if kind == "markdown":
        pass  # before the limit of memory, and before the first text
    else:
        pass
    _limit_memory()
    seconds = _TEXT_SECONDS if kind == "markdown" else _PDF_SECONDS
    while select.select([source], [], [], _IDLE_SECONDS)[0] and (message := _message(source)) is not None:
        signal.setitimer(signal.ITIMER_PROF, seconds + _MORE_SECONDS)
        done = _rendered(message) if kind == "markdown" else _pdf_text(message)
        signal.setitimer(signal.ITIMER_PROF, 0)
        sink.write(framed(msgspec.msgpack.encode(done)))
        sink.flush()


def _message(source: Any) -> bytes | None:
    head = _exactly(source, HEADER)
    return None if head is None else _exactly(source, int.from_bytes(head, "big"))


def _exactly(source: BinaryIO, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        piece = source.read(size - len(data))
        if not piece:
            return None
        data += piece
    return bytes(data)


def _rendered(message: bytes) -> Rendered:
    from jan.rendering.markdown import render

    job = msgspec.msgpack.decode(message, type=RenderJob)
    began = time.process_time()
    try:
        with at_most(_TEXT_SECONDS):
            done = render(job)
        if sum(len(block.html) for block in done.blocks) > _MOST_TIMES * len(job.text) + _FIRST_PART:
            done = _unread(job)
    except (TooSlow, RecursionError, MemoryError):
        done = _unread(job)
    except Exception as error:  # noqa: BLE001 - a library's mistake must not cost the text
        done = msgspec.structs.replace(_unread(job), mistake=type(error).__name__)
    return msgspec.structs.replace(done, seconds=time.process_time() - began)


def _unread(job: RenderJob) -> Rendered:
    return Rendered([], 0) if job.growing else plain(job.text)


def _pdf_text(message: bytes) -> FileText:
    from jan.rendering.pdf_text import pdf_text

    job = msgspec.msgpack.decode(message, type=FileJob)
    try:
        with at_most(_PDF_SECONDS):
            return pdf_text(job)
    except TooSlow:
        return FileText(refusal=f"Reading it takes more than {_PDF_SECONDS:g} s of computing")
    except (MemoryError, RecursionError):
        return FileText(refusal="Reading it takes too much memory")
    except Exception as error:  # noqa: BLE001 - the library raises many kinds for what is no PDF
        return FileText(refusal=f"It is damaged ({type(error).__name__})")


def _limit_memory() -> None:
    pages = Path("/proc/self/statm")
    if pages.exists():
        used = int(pages.read_text().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY_BYTES, hard))
