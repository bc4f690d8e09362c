"""An engine's thread: it hears messages, admits jobs, steps the backend, and delivers what comes of it.

Only messages come in, through an inbox; every step's results go out in one ``call_soon_threadsafe`` for all jobs
together. A thread that hangs in its backend can't be ended from outside: it is abandoned, then nothing of it
reaches anybody, and it ends by itself if it ever wakes up.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from jan.engine.base import Backend, Delta, Event, JobId, ModelInfo, OnProgress, Started
from jan.engine.refusals import waited_too_long
from jan.engine.rules import EngineRules
from jan.engine.runtime.job import Job
from jan.engine.runtime.mailbox import Cancel, Close, Outbox, Reset, Submit
from jan.engine.runtime.waiting_room import WaitingRoom
from jan.engine.stats import EngineStats
from jan.errors import InternalError, JanError

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Seconds for which messages are taken before the next step, if answers are under way.
_LONGEST_HEARING = 0.1
# Of an answer that nobody sees before its end; what a client that leaves used meanwhile is not counted.
_HOLD_SECONDS = 0.05


class Worker:
    """One thread, the backend it drives, the jobs that wait and those that run.

    On the event loop, ``on_reset`` is called when a Reset was obeyed, ``on_death`` when the thread ends that was
    not told to.
    """

    def __init__(
        self,
        name: str,
        make_backend: Callable[[], Backend],
        rules: EngineRules,
        stats: EngineStats,
        *,
        on_reset: Callable[[], None],
        on_death: Callable[["Worker"], None],
    ) -> None:
        self._name = name
        self._make_backend = make_backend
        self._rules = rules
        self._stats = stats
        self._on_reset = on_reset
        self._on_death = on_death
        self._inbox: queue.SimpleQueue[Submit | Cancel | Reset | Close] = queue.SimpleQueue()
        self._waiting = WaitingRoom(rules, stats)
        self._running: dict[JobId, Job] = {}
        self._outbox = Outbox()
        self._idle = True

    # --- for the event loop -------------------------------------------------------------------------

    async def start(self, progress: OnProgress) -> ModelInfo:
        """Start the thread and load the model in it; raises what the backend's load raises."""
        loaded: asyncio.Future[ModelInfo] = asyncio.get_running_loop().create_future()
        self._thread = threading.Thread(
            target=self._main, args=(loaded, progress), name=f"engine-{self._name}", daemon=True
        )
        self._thread.start()
        return await loaded

    def post(self, message: Submit | Cancel | Reset | Close) -> None:
        """Tell the thread something."""
        self._inbox.put(message)

    def busy_since(self) -> float | None:
        """When it last ended a step or took a message, on the monotonic clock; None while it has nothing to do."""
        return None if self._idle else self._stats.progress_at

    def abandon(self) -> None:
        """Give the thread up: nothing of it reaches anybody from now on; it ends when it can."""
        self._outbox.cut = True
        self.post(Close())

    async def join(self, seconds: float) -> bool:
        """Wait for the thread's end for so long; whether it has ended."""
        await asyncio.to_thread(self._thread.join, seconds)
        return not self._thread.is_alive()

    # --- on the thread ------------------------------------------------------------------------------

    def _main(self, loaded: "asyncio.Future[ModelInfo]", progress: OnProgress) -> None:
        try:
            backend = self._make_backend()
            info = backend.load(lambda part: self._outbox.call(progress, part))
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the start
            self._outbox.settle(loaded, error)
            return
        except BaseException as error:  # noqa: BLE001 - what would end the event loop that waits for it
            self._outbox.settle(loaded, InternalError(f"loading was ended by {type(error).__name__}"))
            return
        self._outbox.settle(loaded, info)
        try:
            self._serve(backend)
        except BaseException:
            # The jobs first: formatting a traceback can take its time.
            self._outbox.deliver()
            self._forget()
            self._outbox.call(self._on_death, self)
            log.exception("engine thread died", model=self._name, abandoned=self._outbox.cut)
        finally:
            backend.close()
        if self._outbox.cut:
            log.info("abandoned engine thread has ended", model=self._name)

    def _serve(self, backend: Backend) -> None:
        """The whole story: hear, admit, step, deliver; wait only when there is nothing to do."""
        while self._hear(backend) and not self._outbox.cut:
            self._admit(backend)
            if self._running:
                self._step(backend)
            self._tend()
            self._outbox.deliver()

    def _hear(self, backend: Backend) -> bool:
        """Take every message; blocks only when idle. False once told to close."""
        wait = not self._running and not self._waiting
        until = 0.0
        while wait or not self._inbox.empty():
            message = self._take(wait)
            if isinstance(message, Close):
                return False
            self._obey(backend, message)
            wait = False
            # Preparing takes time too: a burst of long prompts must not stop the answers under way.
            until = until or self._stats.progress_at + _LONGEST_HEARING
            if self._running and time.monotonic() >= until:
                break
        return True

    def _take(self, wait: bool) -> Submit | Cancel | Reset | Close:
        self._idle = wait
        message = self._inbox.get()
        # In this order: whoever sees that it is busy must not see a time from before it was idle.
        self._stats.progress_at = time.monotonic()
        self._idle = False
        return message

    def _obey(self, backend: Backend, message: Submit | Cancel | Reset) -> None:
        if isinstance(message, Reset):
            self._reset(backend)
        elif isinstance(message, Cancel):
            self._cancel(backend, message.job)
        elif not message.job.closed:  # it may have been given up while this thread hung
            self._accept(backend, message.job)

    def _accept(self, backend: Backend, job: Job) -> None:
        prepared = self._guard(job, lambda: backend.prepare(job.request))
        if prepared is None:
            return
        job.prepared = prepared
        if self._guard(job, lambda: self._queue(job)):
            self._stats.prompt_tokens += prepared.prompt_tokens
            started = Started(prompt_tokens=prepared.prompt_tokens, prompt_text=prepared.prompt_text)
            self._outbox.put(job, started)
            # At once: a burst that fits the slots must not fill the queue on its way to them.
            self._admit(backend)

    def _queue(self, job: Job) -> bool:
        self._waiting.push(job, time.monotonic())
        return True

    def _guard(self, job: Job, action: Callable[[], T]) -> T | None:
        """Do something for one job; what goes wrong fails that job alone, and gives None."""
        try:
            return action()
        except JanError as error:
            self._fail(job, error)
        except Exception as error:
            log.exception("request failed in the model", model=self._name)
            self._fail(job, self._failure(error))
        return None

    def _failure(self, error: Exception) -> InternalError:
        return InternalError(f"model '{self._name}' failed: {type(error).__name__}")

    def _cancel(self, backend: Backend, job: Job) -> None:
        if self._running.pop(job.id, None) is not None:
            backend.cancel(job.id)
            self._waiting.ended(job)
        elif not self._waiting.remove(job):
            return
        self._stats.cancelled += 1
        self._count()

    def _forget(self) -> None:
        self._waiting.drain()
        self._running.clear()
        self._outbox.clear()
        self._count()

    def _reset(self, backend: Backend) -> None:
        self._forget()
        backend.reset()
        self._outbox.call(self._on_reset)

    def _admit(self, backend: Backend) -> None:
        """Begin what there is room for. What does not fit yet lets nobody whose turn comes later pass."""
        while (job := self._waiting.peek()) is not None and job.prepared is not None:
            if not backend.has_room(job.prepared) and self._running:
                self._waiting.blocked(time.monotonic())
                return
            self._waiting.pop(time.monotonic())
            if self._guard(job, lambda job=job: self._begin(backend, job)):  # type: ignore[misc]
                self._running[job.id] = job
                self._outbox.put(job, Delta())
                self._count()

    def _begin(self, backend: Backend, job: Job) -> bool:
        assert job.prepared is not None  # it was queued after it was prepared
        if not backend.has_room(job.prepared):
            # With nothing running there will never be more; it must not stand in everybody's way.
            raise InternalError(f"model '{self._name}' has no room for this request, even alone")
        backend.begin(job.id, job.prepared)
        return True

    def _step(self, backend: Backend) -> None:
        try:
            outputs = backend.step()
        except Exception as error:
            log.exception("model step failed", model=self._name, running=len(self._running))
            for job in self._running.values():
                self._waiting.ended(job)
                self._fail(job, self._failure(error))
            self._running.clear()
            self._count()
            backend.reset()
            return
        self._stats.steps += 1
        self._stats.progress_at = time.monotonic()
        for job_id, output in outputs:
            self._put(self._running[job_id], output)
        self._count()

    def _put(self, job: Job, output: Event | JanError) -> None:
        if isinstance(output, Delta):
            self._stats.completion_tokens += output.tokens
            # The first token goes out at once, so that it is known when it came.
            if job.request.whole and job.generated:
                self._hold(job, output)
            else:
                self._outbox.put(job, output)
            job.generated += output.tokens
            return
        del self._running[job.id]
        self._waiting.ended(job)
        if isinstance(output, JanError):
            self._fail(job, output)
        else:
            self._stats.finished += 1
            self._release(job)
            self._outbox.put(job, output)

    def _hold(self, job: Job, delta: Delta) -> None:
        """Deliver it together with what comes next: the event loop has better to do than to hear of each token."""
        now = self._stats.progress_at
        if not job.held:
            job.held_at = now
        job.held.append(delta)
        if now - job.held_at >= _HOLD_SECONDS:
            self._release(job)

    def _release(self, job: Job) -> None:
        if job.held:
            self._outbox.put(job, Delta.sum(job.held))
            job.held.clear()

    def _tend(self) -> None:
        """Those who wait: who has waited for too long, and who is to be told where they stand."""
        if not self._waiting:
            return
        now = time.monotonic()
        for job in self._waiting.expired(now):
            self._fail(job, waited_too_long(self._rules.queue_timeout_seconds))
        for job, queued in self._waiting.news(now):
            self._outbox.put(job, queued)

    def _fail(self, job: Job, error: JanError) -> None:
        self._stats.failed += 1
        self._release(job)
        self._outbox.put(job, error)

    def _count(self) -> None:
        self._stats.running = len(self._running)
