"""The jobs of one engine that wait for a slot: counted, told where they stand, refused when it takes too long."""

from collections import OrderedDict

from jan.engine.base import Queued
from jan.engine.rules import EngineRules
from jan.engine.runtime.fair_queue import FairQueue
from jan.engine.runtime.job import Job
from jan.engine.stats import EngineStats
from jan.errors import Unavailable

_TELL_SECONDS = 1.0
# After so long an observation counts half.
_HALF_LIFE_SECONDS = 30.0
# How long an answer is likely to be: before there was any; then it is the mean of about so many.
_FIRST_GUESS_TOKENS = 256
_ANSWERS = 16


class DrainRate:
    """Tokens of waiting jobs that begin in a second, of late, while any wait."""

    def __init__(self) -> None:
        self._tokens = self._seconds = self._at = 0.0

    def resume(self, now: float) -> None:
        """Somebody waits again; the time before does not count."""
        self._at = now

    def add(self, tokens: int, now: float) -> None:
        """A job of so many tokens began."""
        self._age(now)
        self._tokens += tokens

    def seconds_for(self, tokens: int, now: float) -> float | None:
        """How long it takes until so many have begun; None while nothing is known."""
        self._age(now)
        return tokens * self._seconds / self._tokens if self._tokens else None

    def _age(self, now: float) -> None:
        factor = 0.5 ** ((now - self._at) / _HALF_LIFE_SECONDS)
        self._tokens *= factor
        self._seconds = self._seconds * factor + now - self._at
        self._at = now


class WaitingRoom:
    """Jobs in the order of FairQueue. Times are on the monotonic clock."""

    def __init__(self, rules: EngineRules, stats: EngineStats) -> None:
        self._rules = rules
        self._stats = stats
        self._queue: FairQueue[Job] = FairQueue(rules.max_waiting)
        self._arrivals: OrderedDict[Job, float] = OrderedDict()
        self._rate = DrainRate()
        self._saturated = False
        self._tend_at = 0.0
        self._likely = float(_FIRST_GUESS_TOKENS)
        self._answers = 0

    def __len__(self) -> int:
        return len(self._arrivals)

    def push(self, job: Job, now: float) -> None:
        """Let a prepared job wait; raises Unavailable where there is no room for it."""
        assert job.prepared is not None  # it is a prepared one
        # Not the longest possible answer: without max_tokens that is the whole context, which hardly any takes.
        job.cost = job.prepared.prompt_tokens + min(job.prepared.limit, round(self._likely))
        try:
            self._queue.push(job.request.owner, job, job.cost, job.request.priority)
        except Unavailable:
            self._stats.overloaded += 1
            raise
        self._arrivals[job] = now
        self._count()

    def blocked(self, now: float) -> None:
        """There is no room for the job whose turn it is: from now on the rest has to wait."""
        if not self._saturated:
            self._saturated = True
            self._rate.resume(now)

    def peek(self) -> Job | None:
        """The job whose turn it is."""
        return self._queue.peek()

    def pop(self, now: float) -> Job:
        """Take the job whose turn it is, because it begins."""
        job = self._queue.pop()
        job.queue_seconds = now - self._arrivals.pop(job)
        self._stats.waits.observe(job.queue_seconds)
        # What finds a slot at once says nothing of how long others will wait.
        if self._saturated:
            self._rate.add(job.cost, now)
        self._count()
        return job

    def ended(self, job: Job) -> None:
        """A job that was taken has come to its end: its owner's share is charged with what it took."""
        assert job.prepared is not None  # it was pushed
        took = job.prepared.prompt_tokens + job.generated
        self._queue.settle(job.request.owner, took - job.cost, job.request.priority)
        if job.generated:  # probes and clients who left at once say nothing of answers
            self._answers = min(self._answers + 1, _ANSWERS)
            self._likely += (job.generated - self._likely) / self._answers

    def remove(self, job: Job) -> bool:
        """Take a job out; False if it is not here."""
        if not self._queue.remove(job.request.owner, job, job.request.priority):
            return False
        del self._arrivals[job]
        self._count()
        return True

    def drain(self) -> list[Job]:
        """Take everything."""
        self._arrivals.clear()
        jobs = self._queue.drain()
        self._count()
        return jobs

    def expired(self, now: float) -> list[Job]:
        """Take those that have waited for too long."""
        late = []
        while self._arrivals:
            job, arrived = next(iter(self._arrivals.items()))
            if now - arrived < self._rules.queue_timeout_seconds:
                break
            self.remove(job)
            late.append(job)
        self._stats.timed_out += len(late)
        return late

    def news(self, now: float) -> list[tuple[Job, Queued]]:
        """Who stands where, for those for whom it changed; once a second at most, since it takes a while."""
        if not self._arrivals or now < self._tend_at:
            return []
        self._tend_at = now + _TELL_SECONDS
        found, ahead = [], 0
        for position, (job, cost) in enumerate(self._queue.order(), 1):
            ahead += cost
            seconds = self._rate.seconds_for(ahead, now)
            queued = Queued(position=position, estimate_seconds=None if seconds is None else round(seconds))
            if queued != job.told:
                job.told = queued
                found.append((job, queued))
        return found

    def _count(self) -> None:
        self._saturated = self._saturated and bool(self._arrivals)
        self._stats.waiting, self._stats.waiting_tokens = len(self._arrivals), self._queue.tokens
