"""From an engine's deliveries to the receivers of its jobs, on the event loop, by plain calls."""

import asyncio
from collections.abc import Iterator
from time import perf_counter

import structlog

from jan.engine.base import Event, Failed, Finished, JobId, PreparedRequest
from jan.engine.runtime.job import Job
from jan.engine.runtime.mailbox import Batch

log = structlog.get_logger(__name__)

# Receivers called in one turn of the loop: a thousand streams at once would hold up everybody for 10 ms.
_RECEIVERS_A_TURN = 128
_LAST = (Finished, Failed)


class Arrivals:
    """The jobs under way and who gets their events. What has come for a job, of one step or of several while the
    loop was busy, is handed over in one call. Nothing is waited for: no future, task or generator."""

    def __init__(self) -> None:
        self._jobs: dict[JobId, Job] = {}
        self._batches: list[Batch] = []
        # What is handed over in later turns, the first one at the end.
        self._groups: list[tuple[JobId, list[Event | PreparedRequest]]] = []
        self._scheduled = False

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def add(self, job: Job) -> None:
        """Expect events of a job."""
        self._jobs[job.id] = job

    def get(self, job_id: JobId) -> Job | None:
        """Return a job under way."""
        return self._jobs.get(job_id)

    def remove(self, job_id: JobId) -> Job | None:
        """Hand over nothing more of a job; returns the job if it was under way."""
        job = self._jobs.pop(job_id, None)
        if job is not None:
            job.closed = True
        return job

    def arrive(self, batches: list[Batch]) -> None:
        """Hand over what the thread delivered."""
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

    def _grouped(self) -> list[tuple[JobId, list[Event | PreparedRequest]]]:
        """Everything that has arrived, by job; the job that was first comes last."""
        groups: dict[JobId, list[Event | PreparedRequest]] = {}
        for batch in self._batches:
            for job_id, event in batch:
                if job_id in groups:
                    groups[job_id].append(event)
                else:
                    groups[job_id] = [event]
        self._batches = []
        return list(groups.items())[::-1]

    def hand_over(self, job_id: JobId, events: "list[Event | PreparedRequest]", at: float) -> None:
        """Give a job's receiver its events; the job is no longer under way after the last one."""
        job = self._jobs.get(job_id)
        if job is None:
            return
        if isinstance(events[-1], _LAST):
            self.remove(job_id)
        try:
            job.receiver(events, at)  # type: ignore[arg-type]  # only prepare's own receiver gets what was prepared
        except Exception:
            # The other receivers' events must not be lost with it.
            log.exception("receiver failed", job_id=job_id)
