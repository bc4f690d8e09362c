"""Hand the events of an engine's thread to the receivers of its jobs, by plain calls on the event loop."""

import asyncio
from collections.abc import Iterator
from time import perf_counter

import structlog

from jan.engine.base import Event, Failed, Finished, JobId, PreparedRequest
from jan.engine.refusals import dropped
from jan.engine.runtime.job import Job
from jan.engine.runtime.mailbox import Batch

log = structlog.get_logger(__name__)

# Most receivers called in one turn of the loop. A thousand streams in one turn would block it for 10 ms.
_RECEIVERS_A_TURN = 128
_LAST = (Finished, Failed)


class Arrivals:
    """The open jobs of a model and their receivers.

    All events of a job that have arrived, of one step or of several while the loop was busy, are handed over in
    one call. No future, task or generator is involved.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._jobs: dict[JobId, Job] = {}
        self._batches: list[Batch] = []
        # Events that are handed over in later turns, in reverse order.
        self._groups: list[tuple[JobId, list[Event | PreparedRequest]]] = []
        self._scheduled = False

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def add(self, job: Job) -> None:
        """Add a job whose events may arrive."""
        self._jobs[job.id] = job

    def prepared(self, request: PreparedRequest) -> Job:
        """Return the job of a prepared request. Raises Unavailable if it was dropped or cancelled."""
        job = self._jobs.get(request.job_id)
        if job is None:
            raise dropped(self._model)
        return job

    def remove(self, job_id: JobId) -> Job | None:
        """Close a job: its receiver gets no more events. Returns the job if it was open."""
        job = self._jobs.pop(job_id, None)
        if job is not None:
            job.closed = True
        return job

    def arrive(self, batches: list[Batch]) -> None:
        """Hand over the events that the thread delivered, in this turn of the loop and the next ones."""
        self._batches += batches
        if not self._scheduled:
            self._turn()

    def _turn(self) -> None:
        at = perf_counter()
        groups = self._groups = self._groups or self._grouped()
        for _ in range(min(_RECEIVERS_A_TURN, len(groups))):
            job_id, events = groups.pop()
            self.hand_over(job_id, events, at)
        self._scheduled = bool(groups or self._batches)
        if self._scheduled:
            asyncio.get_running_loop().call_soon(self._turn)

    def hand_over_all(self) -> None:
        """Hand over everything that has arrived, without waiting for later turns."""
        at = perf_counter()
        while groups := self._groups or self._grouped():
            self._groups = groups
            while groups:
                self.hand_over(*groups.pop(), at)

    def _grouped(self) -> list[tuple[JobId, list[Event | PreparedRequest]]]:
        """Return all events that have arrived by job, in reverse order of the jobs."""
        groups: dict[JobId, list[Event | PreparedRequest]] = {}
        for ids, arrived in self._batches:
            for job_id, event in zip(ids, arrived, strict=True):
                if job_id in groups:
                    groups[job_id].append(event)
                else:
                    groups[job_id] = [event]
        self._batches = []
        return list(groups.items())[::-1]

    def hand_over(self, job_id: JobId, events: "list[Event | PreparedRequest]", at: float) -> None:
        """Call a job's receiver. The last event closes the job."""
        job = self._jobs.get(job_id)
        if job is None:
            return
        if isinstance(events[-1], _LAST):
            self.remove(job_id)
        try:
            job.receiver(events, at)  # type: ignore[arg-type]  # only the receiver of ``prepare`` gets PreparedRequest
        except Exception:
            # Other receivers must still get their events.
            log.exception("receiver failed", job_id=job_id)


def settle_reply(reply: "asyncio.Future[PreparedRequest | Failed]", events: "list[Event]", _at: float) -> None:
    """Receive the outcome of ``prepare``."""
    last = events[-1]
    if not reply.done() and isinstance(last, PreparedRequest | Failed):
        reply.set_result(last)
