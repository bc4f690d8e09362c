"""The server's renderer: texts as blocks of safe HTML, made in child processes."""

import asyncio

import msgspec
import structlog

from jan.rendering.blocks import LONGEST_TEXT, FileJob, FileText, Rendered, RenderJob, plain
from jan.rendering.child_process import ChildProcess
from jan.tasks import end

log = structlog.get_logger(__name__)

# Processes that read Markdown at the same time. They start when they are needed.
_PROCESSES = 2
# PDFs that are read at the same time.
_PDFS = 2


class Renderer:
    """Reads Markdown and PDF in child processes, of which a text can take no more than its time and memory.

    Usage::

        renderer = Renderer()
        blocks = (await renderer.render("# Title")).blocks
        await renderer.close()
    """

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(_PROCESSES)
        self._pdfs = asyncio.Semaphore(_PDFS)
        self._idle: list[ChildProcess] = []
        self._jobs: set[asyncio.Task[bytes | None]] = set()
        self._closed = False

    async def render(self, text: str, *, plainly: bool = False) -> Rendered:
        """Return the blocks of a text. One that takes too long, and any one with ``plainly``, is one block, which
        shows it as it is written."""
        if plainly or len(text) > LONGEST_TEXT or not text.strip():
            return plain(text)
        return await self._rendered(RenderJob(text)) or plain(text)

    async def render_growing(self, text: str, *, next_begins: bool) -> Rendered:
        """Return the blocks of a growing text that no later line can change by itself; see ``RenderJob``."""
        if len(text) > LONGEST_TEXT:
            return Rendered([], 0)
        return await self._rendered(RenderJob(text, growing=True, next_begins=next_begins)) or Rendered([], 0)

    async def _rendered(self, job: RenderJob) -> Rendered | None:
        # The process finishes its job even if nobody waits for it any more.
        task = asyncio.create_task(self._asked(msgspec.msgpack.encode(job)))
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
        done = await asyncio.shield(task)
        if done is None:
            return None
        rendered = msgspec.msgpack.decode(done, type=Rendered)
        if rendered.mistake:
            # Its message may have parts of the text.
            log.warning("a text is shown as it is written", reason=rendered.mistake)
        return rendered

    async def _asked(self, job: bytes) -> bytes | None:
        """Return the result of a job, None if there is none: it ended its process, or none can be started."""
        async with self._turns:
            if (child := await self._waiting()) is not None and (done := await self._done(child, job)) is not None:
                return done
            # The one that waited may just have ended by itself. Only a new one tells what the job does to it.
            try:
                child = await ChildProcess.start("markdown")
            except OSError as error:
                log.error("the process that reads Markdown can't be started", reason=str(error))
                return None
            return await self._done(child, job)

    async def _waiting(self) -> ChildProcess | None:
        """Return a process that waits for a job, None if there is none."""
        while self._idle:
            child = self._idle.pop()
            if not child.has_ended:
                return child
            await child.end()
        return None

    async def _done(self, child: ChildProcess, job: bytes) -> bytes | None:
        try:
            done = await child.ask(job)
        except BaseException:
            await child.end()
            raise
        if done is None or self._closed:
            await child.end()
        else:
            self._idle.append(child)
        return done

    async def pdf_text(self, data: bytes, most: int) -> FileText:
        """Return the text of a PDF, read in a process of its own, up to ``most`` characters."""
        async with self._pdfs:
            try:
                child = await ChildProcess.start("pdf")
            except OSError as error:
                log.error("the process that reads a PDF can't be started", reason=str(error))
                return FileText(refusal="The server can't start a process for it")
            try:
                done = await child.ask(msgspec.msgpack.encode(FileJob(data, most)))
            finally:
                await child.end()
        if done is None:
            return FileText(refusal="It ends the process that reads it")
        return msgspec.msgpack.decode(done, type=FileText)

    async def close(self) -> None:
        """End all processes of the renderer."""
        self._closed = True
        await end(*self._jobs)
        while self._idle:
            await self._idle.pop().end()
