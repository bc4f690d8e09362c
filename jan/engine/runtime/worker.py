"""What an engine's thread does: it hears messages, admits jobs, steps the backend, and delivers what comes of it.

Only messages come in, through an inbox; every step's results go out in one ``call_soon_threadsafe`` for all jobs
together.
"""

import queue
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec
import structlog

from jan.engine.base import (
    Backend,
    Delta,
    Failed,
    JobId,
    Output,
    PreparedJob,
    PreparedRequest,
    Started,
)
from jan.engine.refusals import waited_too_long
from jan.engine.rules import EngineRules
from jan.engine.runtime.job import Job
from jan.engine.runtime.mailbox import Cancel, Close, Message, Outbox, Prepare, Reset, Submit
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
    """The jobs that wait and those that run, and what is done with them. Everything is called on the thread.

    ``on_reset`` is called on the event loop when a Reset was obeyed.
    """

    def __init__(
        self,
        name: str,
        rules: EngineRules,
        stats: EngineStats,
        inbox: "queue.SimpleQueue[Message]",
        outbox: Outbox,
        on_reset: Callable[[], None],
    ) -> None:
        self._name = name
        self._rules = rules
        self._stats = stats
        self._inbox = inbox
        self._outbox = outbox
        self._on_reset = on_reset
        self._waiting = WaitingRoom(rules, stats)
        self._running: dict[JobId, Job] = {}
        #: Whether it waits for something to do.
        self.idle = True

    def serve(self, backend: Backend) -> None:
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

    def _take(self, wait: bool) -> Message:
        self.idle = wait
        message = self._inbox.get()
        # In this order: whoever sees that it is busy must not see a time from before it was idle.
        self._stats.progress_at = time.monotonic()
        self.idle = False
        return message

    def _obey(self, backend: Backend, message: Prepare | Submit | Cancel | Reset) -> None:
        if isinstance(message, Reset):
            self._reset(backend)
        elif isinstance(message, Cancel):
            self._cancel(backend, message.job)
        elif message.job.closed:
            return  # it was given up while this thread hung
        elif isinstance(message, Submit):
            self._accept(backend, message.job)
        elif (prepared := self._prepare(backend, message.job)) is not None:
            told = PreparedRequest(
                job_id=message.job.id,
                prompt_tokens=prepared.prompt_tokens,
                limit=prepared.limit,
                prompt_text=prepared.prompt_text,
            )
            self._outbox.put(message.job, told)

    def _prepare(self, backend: Backend, job: Job) -> PreparedJob | None:
        """What the backend made of a job's request, made now if it was not before; None if the job failed."""
        if job.prepared is None:
            job.prepared = self._guard(job, lambda: backend.prepare(job.request))
        return job.prepared

    def _accept(self, backend: Backend, job: Job) -> None:
        prepared = self._prepare(backend, job)
        if prepared is not None and self._guard(job, lambda: self._queue(job)):
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

    def forget(self) -> None:
        """Drop every job, and what was not delivered."""
        self._waiting.drain()
        self._running.clear()
        self._outbox.clear()
        self._count()

    def _reset(self, backend: Backend) -> None:
        self.forget()
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

    def _put(self, job: Job, output: Output) -> None:
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
            self._outbox.put(job, msgspec.structs.replace(output, queue_seconds=job.queue_seconds))

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
        self._outbox.put(job, Failed.of(error))

    def _count(self) -> None:
        self._stats.running = len(self._running)
