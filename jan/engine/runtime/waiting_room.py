"""The jobs of an engine that wait for a slot: their order, positions, expected waits and timeouts."""

from collections import OrderedDict

from jan.engine.base import Queued
from jan.engine.rules import EngineRules
from jan.engine.runtime.fair_queue import FairQueue
from jan.engine.runtime.job import Job
from jan.engine.stats import EngineStats
from jan.errors import Unavailable

# Positions are sent at most this often.
_UPDATE_SECONDS = 1.0
# An observation of the drain rate counts half after this time.
_HALF_LIFE_SECONDS = 30.0
# Expected answer length in tokens: a constant until the first answer ends, then a running mean over about the last
# 16.
_FIRST_EXPECTED_TOKENS = 256
_MEAN_OVER_ANSWERS = 16


class DrainRate:
    """The drain rate of the queue: tokens of jobs that begin per second while jobs wait, as a decaying mean.

    Times are seconds on the monotonic clock.
    """

    def __init__(self) -> None:
        self._tokens = self._seconds = self._updated_at = 0.0

    def resume(self, now: float) -> None:
        """Continue to measure at ``now``, when jobs wait again. The time before does not count."""
        self._updated_at = now

    def add(self, tokens: int, now: float) -> None:
        """Count a job of this many tokens, which begins now."""
        self._decay(now)
        self._tokens += tokens

    def seconds_for(self, tokens: int, now: float) -> float | None:
        """Return the expected seconds until jobs of this many tokens have begun, None if nothing is known."""
        self._decay(now)
        return tokens * self._seconds / self._tokens if self._tokens else None

    def _decay(self, now: float) -> None:
        factor = 0.5 ** ((now - self._updated_at) / _HALF_LIFE_SECONDS)
        self._tokens *= factor
        self._seconds = self._seconds * factor + now - self._updated_at
        self._updated_at = now


class WaitingRoom:
    """The waiting jobs, in the order of ``FairQueue``. Times are seconds on the monotonic clock."""

    def __init__(self, rules: EngineRules, stats: EngineStats) -> None:
        self._rules = rules
        self._stats = stats
        self._queue: FairQueue[Job] = FairQueue(rules.max_waiting)
        self._arrivals: OrderedDict[Job, float] = OrderedDict()
        self._rate = DrainRate()
        self._saturated = False
        self._next_update = 0.0
        self._expected_tokens = float(_FIRST_EXPECTED_TOKENS)
        self._answers_seen = 0

    def __len__(self) -> int:
        return len(self._arrivals)

    def push(self, job: Job, now: float) -> None:
        """Add a prepared job. Raises Unavailable if the queue has no place for it."""
        self._set_cost(job)
        try:
            self._queue.push(job.request.owner, job, job.cost, job.request.priority)
        except Unavailable:
            self._stats.overloaded += 1
            raise
        self._arrivals[job] = now
        self._count()

    def pass_through(self, job: Job) -> None:
        """Note a prepared job that begins without waiting, because there is room and no other waits."""
        self._set_cost(job)
        self._stats.waits.observe(0.0)

    def _set_cost(self, job: Job) -> None:
        assert job.prepared is not None  # only prepared jobs come here
        # Not the longest possible answer: without max_tokens that is the whole context, which answers rarely need.
        job.cost = job.prepared.prompt_tokens + min(job.prepared.limit, round(self._expected_tokens))

    def mark_saturated(self, now: float) -> None:
        """Note that the next job finds no slot, so from now on all jobs really wait."""
        if not self._saturated:
            self._saturated = True
            self._rate.resume(now)

    def peek(self) -> Job | None:
        """Return the job whose turn it is, None if no job waits."""
        return self._queue.peek()

    def pop(self, now: float) -> Job:
        """Remove and return the job whose turn it is, because it begins now."""
        job = self._queue.pop()
        job.queue_seconds = now - self._arrivals.pop(job)
        self._stats.waits.observe(job.queue_seconds)
        # A job that found a slot at once says nothing about how long others will wait.
        if self._saturated:
            self._rate.add(job.cost, now)
        self._count()
        return job

    def settle(self, job: Job) -> None:
        """Charge the owner of a job that has ended with the tokens that it really took."""
        assert job.prepared is not None  # it has waited here
        took = job.prepared.prompt_tokens + job.generated
        self._queue.settle(job.request.owner, took - job.cost, job.request.priority)
        if job.generated:  # an answer without tokens says nothing about the length of answers
            self._answers_seen = min(self._answers_seen + 1, _MEAN_OVER_ANSWERS)
            self._expected_tokens += (job.generated - self._expected_tokens) / self._answers_seen

    def remove(self, job: Job) -> bool:
        """Remove a job. Returns False if it does not wait here."""
        if not self._queue.remove(job.request.owner, job, job.request.priority):
            return False
        del self._arrivals[job]
        self._count()
        return True

    def drain(self) -> list[Job]:
        """Remove and return all jobs, in order."""
        self._arrivals.clear()
        jobs = self._queue.drain()
        self._count()
        return jobs

    def pop_expired(self, now: float) -> list[Job]:
        """Remove and return the jobs that have waited longer than ``queue_timeout_seconds``."""
        late = []
        while self._arrivals:
            job, arrived = next(iter(self._arrivals.items()))
            if now - arrived < self._rules.queue_timeout_seconds:
                break
            self.remove(job)
            late.append(job)
        self._stats.timed_out += len(late)
        return late

    def position_updates(self, now: float) -> list[tuple[Job, Queued]]:
        """Return the jobs whose position or expected wait has changed. Slow, so at most once a second."""
        if not self._arrivals or now < self._next_update:
            return []
        self._next_update = now + _UPDATE_SECONDS
        updates, tokens_ahead = [], 0
        for position, (job, cost) in enumerate(self._queue.order(), 1):
            tokens_ahead += cost
            seconds = self._rate.seconds_for(tokens_ahead, now)
            queued = Queued(position=position, estimate_seconds=None if seconds is None else round(seconds))
            if queued != job.last_queued:
                job.last_queued = queued
                updates.append((job, queued))
        return updates

    def _count(self) -> None:
        self._saturated = self._saturated and bool(self._arrivals)
        self._stats.waiting, self._stats.waiting_tokens = len(self._arrivals), self._queue.tokens
