"""HostedEngine: an engine whose backend has a thread or process of its own, for which the event loop never waits.

This is the event loop's side. It posts messages to the host and watches it. If the host makes no progress or dies,
its jobs fail from here, and the rules say what happens next.
"""

import asyncio
import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import ClassVar, Literal

import structlog

from jan.engine.base import (
    Failed,
    GenerationRequest,
    JobId,
    ModelInfo,
    OnProgress,
    PreparedRequest,
    Receiver,
    TokenizedText,
)
from jan.engine.refusals import model_stopped, stalled
from jan.engine.rules import Backoff, EngineRules, OnFailure
from jan.engine.runtime.arrivals import Arrivals, settle_reply
from jan.engine.runtime.capacity import check_capabilities
from jan.engine.runtime.fair_queue import largest_share
from jan.engine.runtime.host import Host, HostEvents
from jan.engine.runtime.job import Job, ignore_events
from jan.engine.runtime.mailbox import Cancel, Close, Prepare, Submit
from jan.engine.stats import EngineStats
from jan.errors import ConfigurationError, Unavailable

log = structlog.get_logger(__name__)


class HostedEngine(ABC):
    """An Engine over a host, which it makes anew after a failure.

    Args:
        name: the model's id, for messages and the log.
        rules: limits of the queue, and what happens after a failure; None there is the class's ``on_failure``.
        on_exit: called if the host fails and the rules say ``exit``.
    """

    on_failure: ClassVar[OnFailure]

    def __init__(
        self, name: str, rules: EngineRules | None = None, on_exit: Callable[[], None] = lambda: None
    ) -> None:
        self._name = name
        self._rules = (rules or EngineRules()).with_default(self.on_failure)
        self._on_exit = on_exit
        self._jobs = Arrivals(name)
        self._ids = itertools.count(1)
        # What is counted by the host, and what was counted here and by hosts that are no more.
        self._live, self._past = EngineStats(), EngineStats()
        self._info: ModelInfo | None = None
        self._host: Host | None = None
        # The host that has loaded the model and was not replaced since; and the last one that died without that.
        self._serving: Host | None = None
        self._died_early: Host | None = None
        self._state: Literal["new", "ready", "stalled", "dead", "closed"] = "new"
        self._watching: asyncio.TimerHandle | None = None
        self._restarting: asyncio.Task[None] | None = None
        self._backoff = Backoff(self._rules.backoff_seconds)

    @abstractmethod
    def _make_host(self, events: HostEvents) -> Host:
        """Make the host of a backend that is not loaded yet."""

    @property
    def info(self) -> ModelInfo:
        """The model's abilities. Raises Unavailable before it is loaded."""
        if self._info is None:
            raise Unavailable(f"Model '{self._name}' is not loaded.")
        return self._info

    @property
    def stats(self) -> EngineStats:
        """Counters of all its hosts until now."""
        return self._live.plus(self._past)

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
        host = self._ready_host()
        self._jobs.add(message.job)
        host.post(message)

    async def read_tokens(self, request: GenerationRequest) -> TokenizedText:
        """Show the tokens of a prompt; see ``TokenReader``."""
        return await self._ready_host().read_tokens(request)

    async def _checked(self, request: GenerationRequest) -> Job:
        """Return a job for a request that the model can serve."""
        host = self._ready_host()
        check_capabilities(self.info, request)
        return await host.job_of(next(self._ids), request)

    def cancel(self, job_id: JobId) -> None:
        """End a request; see ``Engine.cancel``."""
        job = self._jobs.remove(job_id)
        if job is not None and self._host is not None:
            self._host.post(Cancel(job))

    def _ready_host(self) -> Host:
        """Return the host that takes requests. Raises Unavailable if there is none."""
        if self._state != "ready" or self._host is None:
            raise self._refusal()
        return self._host

    def _refusal(self) -> Unavailable:
        """Return the error for requests while the engine can't serve."""
        if self._state == "stalled":
            return stalled(self._name, self._rules.stall_seconds)
        failed = self._state == "dead" and self._info is not None and self._rules.on_failure == "restart"
        return model_stopped(self._name, restarting=failed)

    def _fail_jobs(self) -> None:
        """Fail all open jobs, even while the host hangs."""
        self._jobs.hand_over_all()  # what was generated before, and above all the ends of complete answers
        refusal = Failed.of(self._refusal())
        if self._host is not None:
            self._host.fail_waiting(refusal)
        for job in self._jobs:
            self._past.failed += 1
            self._jobs.hand_over(job.id, [refusal], time.perf_counter())

    # --- start and end ------------------------------------------------------------------------------

    async def start(self, progress: OnProgress) -> None:
        """Start the host and load the model in it.

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
        host = self._host = self._make_host(HostEvents(self._jobs.arrive, self._on_reset, self._on_death))
        info = await host.start(progress)
        if host is self._died_early:
            raise ConfigurationError("It ended as soon as it was loaded.")
        self._serving, self._info, self._live = host, info, host.stats
        self._state = "ready"

    async def close(self) -> None:
        """Fail all jobs, free the model, and end the host. A thread that does not end in time is abandoned."""
        if self._state == "closed" or self._host is None:
            return
        self._state = "closed"
        if self._watching is not None:
            self._watching.cancel()
        if self._restarting is not None:
            self._restarting.cancel()
            await asyncio.wait({self._restarting})
            self._state = "closed"  # a load may have ended meanwhile
        self._fail_jobs()
        host = self._host
        host.post(Close())
        if not await host.join(self._rules.join_seconds):
            host.abandon()
            outcome = "killed" if host.can_be_ended else "left behind"
            log.warning(f"engine {host.kind} does not end; {outcome}", model=self._name)
            if host.can_be_ended:
                await host.join(self._rules.join_seconds)

    def _watch(self, due: float, awake_since: float = 0.0) -> None:
        """Check at intervals that the host makes progress. Times are seconds on the monotonic clock."""
        loop, interval = asyncio.get_running_loop(), min(1.0, self._rules.stall_seconds / 4)
        now = loop.time()
        # If this call is late, the whole process stood still, and a thread could not make progress either.
        awake_since = now if now > due + interval else awake_since
        busy_since = self._host.busy_since() if self._state == "ready" and self._host else None
        if busy_since is not None and now - max(busy_since, awake_since) > self._rules.stall_seconds:
            self._on_stall()
        self._watching = loop.call_at(now + interval, self._watch, now + interval, awake_since)

    def _on_stall(self) -> None:
        assert self._host is not None  # the host that stalled
        self._state = "stalled"
        self._past.stalls += 1
        log.error("engine stalled", model=self._name, jobs=len(self._jobs), on_failure=self._rules.on_failure)
        self._fail_jobs()
        if self._rules.on_failure == "wait":
            self._host.reset()
        else:
            self._replace(self._host)

    def _on_reset(self) -> None:
        if self._state == "stalled":
            self._state = "ready"
            log.info("engine is back", model=self._name)

    def _on_death(self, host: Host) -> None:
        if host is not self._serving:
            self._died_early = host
            return
        if self._state == "closed":
            return
        self._state = "dead"
        self._fail_jobs()
        if self._rules.on_failure != "wait":
            self._replace(host)

    def _replace(self, host: Host) -> None:
        """Load the model in a new host, or ask for the process to exit, as the rules say."""
        if self._rules.on_failure == "exit":
            log.error("the process ends, as on_failure says", model=self._name)
            self._on_exit()
            return
        ends = self._state == "dead" or host.can_be_ended
        host.abandon()
        self._serving = None
        self._live, self._past = EngineStats(), self.stats.ended()
        self._restarting = asyncio.create_task(self._restart(host if ends else None))

    async def _restart(self, ended: Host | None) -> None:
        """Load the model in a new host; try until it succeeds.

        ``ended``: one that has died, to wait until its memory is free. A thread that hangs keeps its memory.
        """
        self._backoff.begin(self.stats.finished)
        if ended is not None:
            await ended.join(self._rules.join_seconds)
        while True:
            await asyncio.sleep(self._backoff.next())
            launch = asyncio.ensure_future(self._launch(lambda _part: None))
            try:
                await asyncio.wait({launch})
            finally:
                launch.cancel()
            if (failure := launch.exception()) is None:
                break  # if it has failed again meanwhile, another restart has begun
            log.error("model can't be loaded again", model=self._name, reason=str(failure))
        self._past.restarts += 1
        log.info("model loaded again", model=self._name)
