"""ThreadedEngine: one dedicated thread runs a backend for all requests; the event loop never waits for it.

Messages go in through an inbox; every step's results come back in one ``call_soon_threadsafe`` for all
jobs together. A consumer that is slower than the model finds its deltas merged, not queued.
"""

import asyncio
import itertools
import queue
import threading
import time
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

import structlog

from jan.engine.base import (
    Backend,
    Delta,
    EngineStats,
    Event,
    GenerationRequest,
    JobId,
    ModelInfo,
    Progress,
    Started,
    check_capabilities,
)
from jan.engine.job import Job
from jan.engine.scheduler import FairQueue
from jan.errors import InternalError, JanError, Unavailable

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Seconds for which messages are taken before the next step, if answers are under way.
_LONGEST_HEARING = 0.1


class _Submit:
    def __init__(self, job: Job) -> None:
        self.job = job


class _Cancel:
    def __init__(self, job: Job) -> None:
        self.job = job


class _Close:
    pass


class ThreadedEngine:
    """An Engine over a Backend: inbox, waiting queue, running jobs, one delivery a step."""

    def __init__(self, name: str, make_backend: Callable[[], Backend], max_waiting: int = 256) -> None:
        self._name = name
        self._make_backend = make_backend
        self._inbox: queue.SimpleQueue[_Submit | _Cancel | _Close] = queue.SimpleQueue()
        self._waiting: FairQueue[Job] = FairQueue(max_waiting)
        self._running: dict[JobId, Job] = {}
        self._outbox: list[tuple[Job, Event | JanError]] = []
        self._ids = itertools.count(1)
        self._stats = EngineStats()
        self._info: ModelInfo | None = None
        self._thread: threading.Thread | None = None
        self._dead = False

    # --- on the event loop --------------------------------------------------------------------------

    @property
    def info(self) -> ModelInfo:
        """What the model can do; known once started."""
        if self._info is None:
            raise Unavailable(f"model '{self._name}' is not loaded")
        return self._info

    @property
    def stats(self) -> EngineStats:
        """Live counters, written by the engine's thread."""
        return self._stats

    @property
    def healthy(self) -> bool:
        """False once the engine's thread has ended."""
        return not self._dead

    async def start(self, progress: Progress) -> None:
        """Start the thread and load the model in it; raises ConfigurationError if it can't be loaded, and may
        then be called again."""
        self._loop, self._dead = asyncio.get_running_loop(), False
        loaded: asyncio.Future[ModelInfo] = self._loop.create_future()
        self._thread = threading.Thread(
            target=self._main, args=(loaded, progress), name=f"engine-{self._name}", daemon=True
        )
        self._thread.start()
        self._info = await loaded

    async def submit(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Generate; closing the iterator cancels at the next step."""
        if self._dead or self._thread is None:
            raise self._gone()
        check_capabilities(self.info, request)
        job = Job(next(self._ids), request)
        self._inbox.put(_Submit(job))
        if self._dead:  # it ended in between and may not have seen the message
            raise self._gone()
        try:
            while job.pending:
                for item in await job.take():
                    if isinstance(item, JanError):
                        raise item
                    yield item
        finally:
            if not job.closed:
                self._inbox.put(_Cancel(job))

    async def close(self) -> None:
        """Cancel what runs, free the model, end the thread."""
        if self._thread is None:
            return
        self._inbox.put(_Close())
        await asyncio.to_thread(self._thread.join)

    def _gone(self) -> Unavailable:
        return Unavailable(f"model '{self._name}' has stopped; the server's log says why", code="engine_dead")

    # --- on the engine's thread ---------------------------------------------------------------------

    def _main(self, loaded: "asyncio.Future[ModelInfo]", progress: Progress) -> None:
        try:
            backend = self._make_backend()
            info = backend.load(lambda part: self._call(progress, part))
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the start
            self._dead = True
            self._call(_fail, loaded, error)
            return
        self._call(_succeed, loaded, info)
        try:
            self._serve(backend)
        except BaseException as error:
            log.exception("engine thread died", model=self._name)
            self._fail_all(InternalError(f"model '{self._name}' failed: {type(error).__name__}"))
        finally:
            self._dead = True
            self._fail_all(self._gone())
            self._refuse_inbox()
            backend.close()

    def _serve(self, backend: Backend) -> None:
        """The whole story: hear, admit, step, deliver; wait only when there is nothing to do."""
        while self._hear(backend):
            self._admit(backend)
            if self._running:
                self._step(backend)
            self._deliver()

    def _hear(self, backend: Backend) -> bool:
        """Take every message; blocks only when idle. False once told to close."""
        idle = not self._running and not self._waiting
        until = time.monotonic() + _LONGEST_HEARING
        # Preparing takes time too: a burst of long prompts must not stop the answers under way.
        while not self._running or time.monotonic() < until:
            try:
                message = self._inbox.get(block=idle)
            except queue.Empty:
                return True
            if isinstance(message, _Close):
                return False
            if isinstance(message, _Submit):
                self._accept(backend, message.job)
            else:
                self._cancel(backend, message.job)
            idle = False
        return True

    def _accept(self, backend: Backend, job: Job) -> None:
        prepared = self._guard(job, lambda: backend.prepare(job.request))
        if prepared is None:
            return
        job.prepared = prepared
        if self._guard(job, lambda: self._queue(job)):
            self._stats.prompt_tokens += prepared.prompt_tokens
            started = Started(prompt_tokens=prepared.prompt_tokens, prompt_text=prepared.prompt_text)
            self._outbox.append((job, started))
            # At once: a burst that fits the slots must not fill the queue on its way to them.
            self._admit(backend)
        self._count()

    def _queue(self, job: Job) -> bool:
        self._waiting.push(job.request.owner, job)
        return True

    def _guard(self, job: Job, action: Callable[[], T]) -> T | None:
        """Do something for one job; what goes wrong fails that job alone, and gives None."""
        try:
            return action()
        except JanError as error:
            self._fail(job, error)
        except Exception as error:
            log.exception("request failed in the model", model=self._name)
            self._fail(job, InternalError(f"model '{self._name}' failed: {type(error).__name__}"))
        return None

    def _cancel(self, backend: Backend, job: Job) -> None:
        if self._running.pop(job.id, None) is not None:
            backend.cancel(job.id)
        elif not self._waiting.remove(job.request.owner, job):
            return
        self._stats.cancelled += 1
        self._count()

    def _admit(self, backend: Backend) -> None:
        while (job := self._waiting.peek()) is not None and job.prepared is not None:
            if not backend.has_room(job.prepared):
                break
            self._waiting.pop()
            if self._guard(job, lambda: self._begin(backend, job)):
                if not self._running:
                    self._stats.progress_at = time.monotonic()
                self._running[job.id] = job
        self._count()

    def _begin(self, backend: Backend, job: Job) -> bool:
        assert job.prepared is not None  # it was queued after it was prepared
        backend.begin(job.id, job.prepared)
        return True

    def _step(self, backend: Backend) -> None:
        try:
            outputs = backend.step()
        except Exception as error:
            log.exception("model step failed", model=self._name, running=len(self._running))
            self._fail_running(InternalError(f"model '{self._name}' failed: {type(error).__name__}"))
            backend.reset()
            return
        self._stats.steps += 1
        self._stats.progress_at = time.monotonic()
        for job_id, output in outputs:
            job = self._running[job_id]
            if isinstance(output, Delta):
                self._stats.completion_tokens += output.tokens
                self._outbox.append((job, output))
                continue
            del self._running[job_id]
            if isinstance(output, JanError):
                self._fail(job, output)
            else:
                self._stats.finished += 1
                self._outbox.append((job, output))
        self._count()

    def _fail(self, job: Job, error: JanError) -> None:
        self._stats.failed += 1
        self._outbox.append((job, error))

    def _fail_running(self, error: JanError) -> None:
        for job in self._running.values():
            self._fail(job, error)
        self._running.clear()
        self._count()

    def _fail_all(self, error: JanError) -> None:
        self._fail_running(error)
        for job in self._waiting.drain():
            self._fail(job, error)
        self._count()
        self._deliver()

    def _refuse_inbox(self) -> None:
        """Answer what was posted while the thread was ending; nothing is left without a terminal event."""
        while not self._inbox.empty():
            message = self._inbox.get()
            if isinstance(message, _Submit):
                self._fail(message.job, self._gone())
        self._deliver()

    def _count(self) -> None:
        self._stats.running, self._stats.waiting = len(self._running), len(self._waiting)

    def _deliver(self) -> None:
        if self._outbox:
            outbox, self._outbox = self._outbox, []
            self._call(_deliver_all, outbox)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        # The loop may be closed already when the process is ending; then nobody is left to hear it.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)


def _deliver_all(outbox: list[tuple[Job, Event | JanError]]) -> None:
    for job, item in outbox:
        job.put(item)


def _succeed(future: "asyncio.Future[ModelInfo]", info: ModelInfo) -> None:
    if not future.done():
        future.set_result(info)


def _fail(future: "asyncio.Future[ModelInfo]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
