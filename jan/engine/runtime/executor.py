"""ThreadedEngine: an engine whose dedicated thread runs a backend. The event loop never waits for the thread.

This is the event loop's side. It posts messages to the thread and watches it. If the thread makes no progress or
dies, its jobs fail from here, and the rules say what happens next.
"""

import asyncio
import itertools
import time
from collections.abc import Callable
from functools import partial
from typing import Literal, cast

import structlog

from jan.engine.base import (
    Backend,
    Failed,
    GenerationRequest,
    JobId,
    ModelInfo,
    OnProgress,
    PreparedRequest,
    Receiver,
    TokenizedText,
)
from jan.engine.grammars.trials import Trials
from jan.engine.refusals import model_stopped, shows_no_tokens, stalled
from jan.engine.rules import Backoff, EngineRules
from jan.engine.runtime.arrivals import Arrivals, settle_reply
from jan.engine.runtime.capacity import check_capabilities
from jan.engine.runtime.fair_queue import largest_share
from jan.engine.runtime.job import Job, ignore_events
from jan.engine.runtime.mailbox import Cancel, Close, Prepare, Reset, Submit
from jan.engine.runtime.thread import EngineThread
from jan.engine.stats import EngineStats
from jan.errors import Unavailable

log = structlog.get_logger(__name__)


class ThreadedEngine:
    """An Engine that runs a Backend on a thread of its own.

    Args:
        name: the model's id, for messages and the log.
        make_backend: called on the thread, also for each restart.
        rules: limits of the queue, and what happens after a failure.
        on_exit: called if the thread fails and the rules say ``exit``.
    """

    def __init__(
        self,
        name: str,
        make_backend: Callable[[], Backend],
        rules: EngineRules | None = None,
        on_exit: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._make_backend = make_backend
        self._rules = rules or EngineRules()
        self._on_exit = on_exit
        self._jobs = Arrivals(name)
        self._ids = itertools.count(1)
        self._stats = EngineStats()
        self._info: ModelInfo | None = None
        self._thread: EngineThread | None = None
        self._trials: Trials | None = None
        self._state: Literal["new", "ready", "stalled", "dead", "closed"] = "new"
        self._watching: asyncio.TimerHandle | None = None
        self._restarting: asyncio.Task[None] | None = None
        self._resetting = False
        self._backoff = Backoff(self._rules.backoff_seconds)

    @property
    def info(self) -> ModelInfo:
        """The model's abilities. Raises Unavailable before it is loaded."""
        if self._info is None:
            raise Unavailable(f"Model '{self._name}' is not loaded.")
        return self._info

    @property
    def stats(self) -> EngineStats:
        """Live counters, written by the engine's thread."""
        return self._stats

    @property
    def trouble(self) -> str | None:
        """Why it can't serve, as a sentence; None while it can, and before it is started."""
        return None if self._state in ("new", "ready") else self._refusal().message

    @property
    def healthy(self) -> bool:
        """True if there is no trouble."""
        return self.trouble is None

    @property
    def max_sequences(self) -> int | None:
        """The slots and one owner's share of an empty queue; None: no limit."""
        return None if self.info.slots is None else self.info.slots + largest_share(self._rules.max_waiting)

    # --- requests -----------------------------------------------------------------------------------

    async def prepare(self, request: GenerationRequest) -> PreparedRequest:
        """Tokenise and check a request; see ``Engine.prepare``."""
        reply: asyncio.Future[PreparedRequest | Failed] = asyncio.get_running_loop().create_future()
        job = await self._checked(request)
        job.receiver = partial(settle_reply, reply)
        self._post(Prepare(job))
        try:
            outcome = await reply
        except BaseException:
            self.cancel(job.id)
            raise
        if isinstance(outcome, Failed):
            raise outcome.error()
        job.receiver = ignore_events
        return outcome

    async def submit(self, request: GenerationRequest | PreparedRequest, receiver: Receiver) -> JobId:
        """Queue a request; see ``Engine.submit``."""
        if isinstance(request, PreparedRequest):
            job = self._jobs.prepared(request)
        else:
            job = await self._checked(request)
        job.receiver = receiver
        self._post(Submit(job))
        return job.id

    def _post(self, message: Prepare | Submit) -> None:
        thread = self._ready_thread()
        self._jobs.add(message.job)
        thread.post(message)

    async def read_tokens(self, request: GenerationRequest) -> TokenizedText:
        """Show the tokens of a prompt; see ``TokenReader``."""
        if (shared := await self._ready_thread().prompts.tokenized(request)) is None:
            raise shows_no_tokens(self._name)
        return cast(TokenizedText, shared.tokenized)

    async def _checked(self, request: GenerationRequest) -> Job:
        """Return a job for a request, after its output format has been tried and its prompt tokenised."""
        self._ready_thread()
        check_capabilities(self.info, request)
        if self._trials is not None:
            await self._trials.admit(request.output, request.owner)
        prompt = await self._ready_thread().prompts.tokenized(request)
        return Job(next(self._ids), request, prompt=prompt)

    def cancel(self, job_id: JobId) -> None:
        """End a request; see ``Engine.cancel``."""
        job = self._jobs.remove(job_id)
        if job is not None and self._thread is not None:
            self._thread.post(Cancel(job))

    def _ready_thread(self) -> EngineThread:
        """Return the thread that takes requests. Raises Unavailable if there is none."""
        if self._state != "ready" or self._thread is None:
            raise self._refusal()
        return self._thread

    def _refusal(self) -> Unavailable:
        """Return the error for requests while the engine can't serve."""
        if self._state == "stalled":
            return stalled(self._name, self._rules.stall_seconds)
        failed = self._state == "dead" and self._info is not None and self._rules.on_failure == "restart"
        return model_stopped(self._name, restarting=failed)

    def _fail_jobs(self) -> None:
        """Fail all open jobs, even while the thread hangs."""
        self._jobs.hand_over_all()  # what was generated before, and above all the ends of complete answers
        refusal = Failed.of(self._refusal())
        if self._thread is not None:
            self._thread.prompts.fail(refusal)
        for job in self._jobs:
            self._stats.failed += 1
            self._jobs.hand_over(job.id, [refusal], time.perf_counter())

    # --- start and end ------------------------------------------------------------------------------

    async def start(self, progress: OnProgress) -> None:
        """Start the thread and load the model in it.

        Raises ConfigurationError if the model can't be loaded. May be called again after that.
        """
        self._state = "new"
        try:
            await self._launch(progress)
        except BaseException:
            self._state = "dead"
            raise
        self._watch(asyncio.get_running_loop().time())

    async def _launch(self, progress: OnProgress) -> None:
        made = (self._name, self._make_backend, self._rules, self._stats)
        self._thread = EngineThread(
            *made,
            on_arrival=self._jobs.arrive,
            on_reset=self._on_reset,
            on_death=self._on_death,
            on_prompts_idle=self._reset_when_idle,
        )
        self._info = await self._thread.start(progress)
        before, self._trials = self._trials, None if self._info.formats is None else Trials(self._info.formats)
        self._state = "ready"
        if before is not None:
            await before.close()

    async def close(self) -> None:
        """Fail all jobs, free the model, and end the thread. A thread that does not end in time is abandoned."""
        if self._state == "closed" or self._thread is None:
            return
        self._state = "closed"
        if self._watching is not None:
            self._watching.cancel()
        if self._restarting is not None:
            self._restarting.cancel()
            await asyncio.wait({self._restarting})
            self._state = "closed"  # a load may have ended meanwhile
        self._fail_jobs()
        if self._trials is not None:
            await self._trials.close()
        self._thread.post(Close())
        if not await self._thread.join(self._rules.join_seconds):
            self._thread.abandon()
            log.warning("engine thread does not end; left behind", model=self._name)

    def _watch(self, due: float, awake_since: float = 0.0) -> None:
        """Check at intervals that the thread makes progress. Times are seconds on the monotonic clock."""
        loop, interval = asyncio.get_running_loop(), min(1.0, self._rules.stall_seconds / 4)
        now = loop.time()
        # If this call is late, the whole process stood still, and the thread could not make progress either.
        awake_since = now if now > due + interval else awake_since
        busy_since = self._thread.busy_since() if self._state == "ready" and self._thread else None
        if busy_since is not None and now - max(busy_since, awake_since) > self._rules.stall_seconds:
            self._on_stall()
        self._watching = loop.call_at(now + interval, self._watch, now + interval, awake_since)

    def _on_stall(self) -> None:
        assert self._thread is not None  # the thread that stalled
        self._state = "stalled"
        self._stats.stalls += 1
        log.error("engine stalled", model=self._name, jobs=len(self._jobs), on_failure=self._rules.on_failure)
        self._fail_jobs()
        if self._rules.on_failure == "wait":
            self._reset_when_idle()
        else:
            self._replace(self._thread)

    def _reset_when_idle(self) -> None:
        """Reset a stalled backend, once, when no thread tokenises for it any more."""
        thread, waits = self._thread, self._rules.on_failure == "wait" and self._state == "stalled"
        if thread is not None and waits and not self._resetting and thread.prompts.busy_since is None:
            self._resetting = True
            thread.post(Reset())

    def _on_reset(self) -> None:
        self._resetting = False
        if self._state == "stalled":
            self._state = "ready"
            log.info("engine is back", model=self._name)

    def _on_death(self, thread: EngineThread) -> None:
        if thread is not self._thread or self._state == "closed":
            return
        self._state = "dead"
        self._fail_jobs()
        if self._rules.on_failure != "wait":
            self._replace(thread)

    def _replace(self, thread: EngineThread) -> None:
        """Load the model in a new thread, or ask for the process to exit, as the rules say."""
        if self._rules.on_failure == "exit":
            log.error("the process ends, as on_failure says", model=self._name)
            self._on_exit()
            return
        was_dead = self._state == "dead"
        thread.abandon()
        self._stats = self._stats.carried_over()
        self._restarting = asyncio.create_task(self._restart(thread if was_dead else None))

    async def _restart(self, ended: EngineThread | None) -> None:
        """Load the model in a new thread; try until it succeeds.

        ``ended``: a thread that has died, to wait until its memory is free. A thread that hangs keeps its memory.
        """
        self._backoff.begin(self._stats.finished)
        if ended is not None:
            await ended.join(self._rules.join_seconds)
        while self._state != "ready":
            await asyncio.sleep(self._backoff.next())
            launch = asyncio.ensure_future(self._launch(lambda _part: None))
            try:
                await asyncio.wait({launch})
            finally:
                launch.cancel()
            if (failure := launch.exception()) is not None:
                log.error("model can't be loaded again", model=self._name, reason=str(failure))
        self._stats.restarts += 1
        log.info("model loaded again", model=self._name)
