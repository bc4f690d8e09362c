"""The loop of an engine's thread: take messages, admit jobs, step the backend, deliver events.

Only messages come in, through an inbox. The events of a step go out together, in one ``call_soon_threadsafe`` for
all jobs.
"""

import queue
import time
from collections import deque
from collections.abc import Callable
from typing import cast

import msgspec
import structlog

from jan.engine.base import (
    Backend,
    Delta,
    Failed,
    JobId,
    Output,
    PreparedJob,
    TokenizingBackend,
)
from jan.engine.refusals import model_failed, waited_too_long
from jan.engine.rules import EngineRules
from jan.engine.runtime.accepted import accepted_of, started_of
from jan.engine.runtime.job import Job
from jan.engine.runtime.mailbox import Cancel, Close, Message, Outbox, Prepare, Reset, Submit
from jan.engine.runtime.waiting_room import WaitingRoom
from jan.engine.stats import EngineStats
from jan.errors import InternalError, JanError

log = structlog.get_logger(__name__)

# Longest time for messages before the next step, while answers run.
_MAX_DRAIN_SECONDS = 0.1
# How long the deltas of a buffered answer are held back. If the client leaves, those tokens are not counted.
_HOLD_SECONDS = 0.05


class Worker:
    """The waiting and the running jobs of an engine. All methods are called on its thread.

    ``on_reset`` is called on the event loop after a Reset. ``idle``: the thread waits for a message.
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
        self._unprepared: deque[Prepare | Submit] = deque()
        self._fingerprint = ""
        self.idle = True

    def serve(self, backend: Backend, fingerprint: str) -> None:
        """Run until Close: take messages, admit, step, deliver. Wait only if there is nothing to do.

        ``fingerprint``: that of the loaded model.
        """
        self._fingerprint = fingerprint
        while self._drain_inbox(backend) and not self._outbox.abandoned:
            self._admit(backend)
            if self._running:
                self._step(backend)
            self._update_waiting()
            self._outbox.deliver()

    def _drain_inbox(self, backend: Backend) -> bool:
        """Hear cancels, then prepare requests; block only while idle. Returns False after a Close."""
        wait = not (self._running or self._waiting or self._unprepared)
        deadline = 0.0
        while self._take_messages(backend, wait):
            wait = False  # what was handled must be delivered first
            if not self._unprepared:
                return True
            # Preparing takes time. A burst of requests must not stop the running answers, nor hold back refusals.
            deadline = deadline or time.monotonic() + _MAX_DRAIN_SECONDS
            self._handle(backend, self._unprepared.popleft())
            if time.monotonic() >= deadline:
                return True
        return False

    def _take_messages(self, backend: Backend, wait: bool) -> bool:
        """Take all messages, at least one if it is to wait, and keep requests for later. False after a Close."""
        while wait or not self._inbox.empty():
            message = self._next_message(wait)
            wait = False
            if isinstance(message, Close):
                return False
            if isinstance(message, Cancel):
                self._cancel(backend, message.job)
            elif isinstance(message, Reset):
                self._reset(backend)
            else:
                self._unprepared.append(message)
        return True

    def _next_message(self, wait: bool) -> Message:
        self.idle = wait
        message = self._inbox.get()
        if wait:
            # In this order, so that nobody sees it busy since before it was idle.
            self._stats.progress_at = time.monotonic()
            self.idle = False
        return message

    def _handle(self, backend: Backend, message: Prepare | Submit) -> None:
        if message.job.closed:
            return  # cancelled, or the loop closed it while this thread hung
        if isinstance(message, Submit):
            self._enqueue(backend, message.job)
        elif (prepared := self._prepare(backend, message.job)) is not None:
            reply = accepted_of(message.job, prepared)
            self._outbox.put(message.job, reply)

    def _prepare(self, backend: Backend, job: Job) -> PreparedJob | None:
        """Return the prepared request of a job, prepared now if necessary; None if that failed the job."""

        def prepare() -> None:
            if job.prompt is None:
                job.prepared = backend.prepare(job.request)
            else:
                job.prepared = cast(TokenizingBackend, backend).prepare(job.request, job.prompt.tokenized)

        if job.prepared is None:
            began = time.monotonic()
            self._guard(job, prepare)
            # Requests that are prepared slowly, one after the other, are no progress: nobody gets a token.
            if (now := time.monotonic()) - began < self._rules.stall_seconds / 4:
                self._stats.progress_at = now
        return job.prepared

    def _enqueue(self, backend: Backend, job: Job) -> None:
        prepared = self._prepare(backend, job)
        if prepared is None:
            return
        # Begin it now if a slot is free, so that a burst that fits into the slots does not fill the queue.
        at_once = not self._waiting and backend.has_room(prepared)
        if at_once:
            self._waiting.pass_through(job)
        elif not self._guard(job, lambda: self._waiting.push(job, time.monotonic())):
            return
        self._stats.prompt_tokens += prepared.prompt_tokens
        started = started_of(job, prepared, self._fingerprint)
        self._outbox.put(job, started)
        if at_once:
            self._start(backend, job)
        else:
            self._admit(backend)

    def _guard(self, job: Job, action: Callable[[], None]) -> bool:
        """Do something for one job. An exception fails only that job; then False is returned."""
        try:
            action()
        except JanError as error:
            self._fail(job, error)
        except Exception as error:
            log.exception("request failed in the model", model=self._name)
            self._fail(job, model_failed(self._name, error))
        else:
            return True
        return False

    def _cancel(self, backend: Backend, job: Job) -> None:
        if self._running.pop(job.id, None) is not None:
            backend.cancel(job.id)
            self._waiting.settle(job)
        elif not self._waiting.remove(job):
            return
        self._stats.cancelled += 1
        self._count_running()

    def drop_jobs(self) -> None:
        """Drop all jobs, and the events that were not delivered yet."""
        self._unprepared.clear()
        self._waiting.drain()
        self._running.clear()
        self._outbox.clear()
        self._count_running()

    def _reset(self, backend: Backend) -> None:
        self.drop_jobs()
        backend.reset()
        self._outbox.call(self._on_reset)

    def _admit(self, backend: Backend) -> None:
        """Begin waiting jobs while there is room. A job that does not fit yet is not overtaken."""
        while (job := self._waiting.peek()) is not None and job.prepared is not None:
            if not backend.has_room(job.prepared) and self._running:
                self._waiting.mark_saturated(time.monotonic())
                return
            self._waiting.pop(time.monotonic())
            self._start(backend, job)

    def _start(self, backend: Backend, job: Job) -> None:
        if self._guard(job, lambda: self._begin(backend, job)):
            self._running[job.id] = job
            self._outbox.put(job, Delta())
            self._count_running()

    def _begin(self, backend: Backend, job: Job) -> None:
        assert job.prepared is not None  # only prepared jobs wait
        if not backend.has_room(job.prepared):
            # Nothing runs, so there will never be more room, and the job would block all others.
            raise InternalError(f"Model '{self._name}' has no room for this request, even alone.")
        backend.begin(job.id, job.prepared)

    def _step(self, backend: Backend) -> None:
        try:
            outputs = backend.step()
        except Exception as error:
            log.exception("model step failed", model=self._name, running=len(self._running))
            for job in self._running.values():
                self._waiting.settle(job)
                self._fail(job, model_failed(self._name, error))
            self._running.clear()
            self._count_running()
            backend.reset()
            return
        self._stats.steps += 1
        self._stats.progress_at = time.monotonic()
        for job_id, output in outputs:
            self._emit(self._running[job_id], output)
        self._count_running()

    def _emit(self, job: Job, output: Output) -> None:
        if isinstance(output, Delta):
            self._stats.completion_tokens += output.tokens
            # The first token is sent at once, so that the time to the first token is known.
            if job.buffered and job.generated:
                self._hold_back(job, output)
            else:
                self._outbox.put(job, output)
            job.generated += output.tokens
            return
        del self._running[job.id]
        self._waiting.settle(job)
        if isinstance(output, JanError):
            self._fail(job, output)
        else:
            self._stats.finished += 1
            self._send_held(job)
            self._outbox.put(job, msgspec.structs.replace(output, queue_seconds=job.queue_seconds))

    def _hold_back(self, job: Job, delta: Delta) -> None:
        """Keep a buffered answer's delta, to send it with later ones and spare the event loop."""
        now = self._stats.progress_at
        if not job.held:
            job.held_since = now
        job.held.append(delta)
        if now - job.held_since >= _HOLD_SECONDS:
            self._send_held(job)

    def _send_held(self, job: Job) -> None:
        if job.held:
            self._outbox.put(job, Delta.sum(job.held))
            job.held.clear()

    def _update_waiting(self) -> None:
        """Fail jobs that have waited too long, and send new positions to the others."""
        if not self._waiting:
            return
        now = time.monotonic()
        for job in self._waiting.pop_expired(now):
            self._fail(job, waited_too_long(self._rules.queue_timeout_seconds))
        for job, queued in self._waiting.position_updates(now):
            self._outbox.put(job, queued)

    def _fail(self, job: Job, error: JanError) -> None:
        self._stats.failed += 1
        self._send_held(job)
        self._outbox.put(job, Failed.of(error))

    def _count_running(self) -> None:
        self._stats.running = len(self._running)
