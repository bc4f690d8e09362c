"""Writes the audit entries of one process as one chain: sealed in order, stored in batches behind the requests."""

import asyncio
from collections import deque
from datetime import datetime
from itertools import islice

import msgspec
import structlog

from jan import __version__
from jan.audit.acts import COMMAND_LINE, SERVER, Act, Actor
from jan.audit.sealing import Head, Seals
from jan.errors import JanError, Unavailable, retry_headers
from jan.storage.audit import AuditEntry, AuditLog, entry_id, new_chain
from jan.storage.records import now
from jan.tasks import end

log = structlog.get_logger(__name__)

_BATCH = 200
#: Entries that may wait for the store. Those beyond are lost, and counted.
MOST_WAITING = 10_000
_RETRY_SECONDS = 1.0
_LOG_HEAD_SECONDS = 600.0
# Chains that were written to last: more than there are processes at a time.
_NAMED_CHAINS = 32


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An act that has not been sealed. ``address`` is as it is to be shown."""

    act: Act
    actor: Actor
    at: datetime = msgspec.field(default_factory=now)
    user_id: str | None = None
    target: str | None = None
    count: int = 1
    details: dict[str, str] = msgspec.field(default_factory=dict)
    after: tuple[str, ...] = ()


class _Waiting(msgspec.Struct, frozen=True):
    event: Event
    stored: "asyncio.Future[None] | None"


class ChainWriter:
    """The chain of this process. ``logged``: log heads and failures, as a server does.

    An entry that the store does not take waits, and is written as soon as the store is back.
    """

    def __init__(self, store: AuditLog, seals: Seals, *, logged: bool) -> None:
        self._store = store
        self._seals = seals
        self._logged = logged
        self._waiting: deque[_Waiting] = deque()
        self._batch: list[tuple[_Waiting, AuditEntry]] = []
        self._task: asyncio.Task[None] | None = None
        self._head: Head | None = None
        self._head_logged_at: float | None = None
        self._unstored = 0
        self._failing = False
        #: Entries stored so far, by act, and entries lost because too many waited.
        self.stored: dict[Act, int] = {}
        self.lost = 0

    @property
    def waiting(self) -> int:
        """The number of entries that are not stored yet."""
        return len(self._waiting) + len(self._batch)

    def put(self, event: Event) -> None:
        """Store an entry behind the caller's back. If too many wait, it is lost, and counted."""
        if self.waiting >= MOST_WAITING:
            if self._unstored == 0 and self._logged:
                log.error("audit entries are lost, because too many wait for the store", waiting=self.waiting)
            self._unstored += 1
            self.lost += 1
            return
        self._add(_Waiting(event, None))

    async def store(self, event: Event) -> None:
        """Store an entry and return once it is durable. Raises Unavailable; the entry is still stored later."""
        if self.waiting >= MOST_WAITING:
            raise _unwritten()
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._add(_Waiting(event, stored))
        await stored

    def _add(self, waiting: _Waiting) -> None:
        self._waiting.append(waiting)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_all())
            self._task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """Let nobody wait for a writer that failed. The next entry begins another one."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("audit failed", exc_info=error)
            self._refuse_waiting(_unwritten())

    async def _write_all(self) -> None:
        while self.waiting:
            try:
                await self._write_batch()
            except JanError as error:
                self._report(error)
                await asyncio.sleep(_RETRY_SECONDS)
        if self._failing:
            self._failing = False
            log.info("audit entries are stored again")

    def _report(self, error: JanError) -> None:
        """Log the first of several failures, and pass it to those who wait for their entry."""
        if self._logged and not self._failing:
            self._failing = True
            log.warning("audit entries wait for the store", reason=error.message)
        self._refuse_waiting(error)

    def _refuse_waiting(self, error: JanError) -> None:
        for waiting in (*(waiting for waiting, _ in self._batch), *self._waiting):
            if waiting.stored is not None and not waiting.stored.done():
                waiting.stored.set_exception(error)

    async def _write_batch(self) -> None:
        if self._head is None:
            self._head = await self._begin()
        if not self._batch:
            self._batch = self._seal(self._head)
        entries = [entry for _, entry in self._batch]
        last = entries[-1]
        mark = self._seals.mark(last.chain, "head", last.sequence, last.seal, now())
        await self._store.append(entries, mark)
        self._head = Head(last.chain, last.sequence, last.seal)
        done, self._batch = self._batch, []
        for waiting, _ in done:
            self.stored[waiting.event.act] = self.stored.get(waiting.event.act, 0) + 1
            if waiting.stored is not None and not waiting.stored.done():
                waiting.stored.set_result(None)
        self._log_head()

    async def _begin(self) -> Head:
        """Begin the chain with an entry that names the heads of the chains that were written to last.

        Each chain is named by the next one that begins, so the end of a chain can't be removed later.
        """
        heads = [mark for mark in await self._store.heads(_NAMED_CHAINS) if mark.sequence]
        after = tuple(str(Head(mark.chain, mark.sequence, mark.seal)) for mark in heads)
        chain = new_chain()
        await self._store.append([], self._seals.mark(chain, "head", 0, "", now()))
        began = Event(
            act="chain.began",
            actor=SERVER if self._logged else COMMAND_LINE,
            at=self._waiting[0].event.at,
            details={"version": __version__},
            after=after,
        )
        self._waiting.appendleft(_Waiting(began, None))
        return Head(chain, 0, "")

    def _seal(self, head: Head) -> list[tuple[_Waiting, AuditEntry]]:
        """Seal the entries of the next batch, each over the one before."""
        if self._unstored:
            lost = Event(act="audit.lost", actor=SERVER, count=self._unstored)
            self._unstored = 0
            self._waiting.append(_Waiting(lost, None))
        batch = list(islice(self._waiting, _BATCH))
        sealed = []
        for waiting in batch:
            entry = self._seals.entry(_entry(waiting.event, head))
            head = Head(entry.chain, entry.sequence, entry.seal)
            sealed.append((waiting, entry))
            self._waiting.popleft()
        return sealed

    def _log_head(self, *, always: bool = False) -> None:
        if not self._logged or self._head is None:
            return
        at = asyncio.get_running_loop().time()
        if always or self._head_logged_at is None or at - self._head_logged_at >= _LOG_HEAD_SECONDS:
            self._head_logged_at = at
            log.info("audit", head=str(self._head))

    async def close(self, seconds: float) -> None:
        """Store what waits, for at most this long, and log the last head."""
        task = self._task
        if task is not None and not task.done():
            await asyncio.wait({task}, timeout=seconds)
            await end(task)
        if self.waiting and self._logged:
            log.error("audit entries are lost, because the store did not take them", entries=self.waiting)
        self._log_head(always=True)


def _entry(event: Event, head: Head) -> AuditEntry:
    """Return the unsealed entry of an event that follows ``head``."""
    return AuditEntry(
        id=entry_id(head.chain, head.sequence + 1),
        chain=head.chain,
        sequence=head.sequence + 1,
        at=event.at,
        act=event.act,
        actor=event.actor.id,
        credential=event.actor.credential,
        address=event.actor.address,
        user_id=event.user_id,
        target=event.target,
        count=event.count,
        details=event.details,
        after=event.after,
        kid="",
        previous=head.seal,
    )


def _unwritten() -> Unavailable:
    return Unavailable(
        "The audit can't be written. Try again later.", code="storage_unavailable", headers=retry_headers(2000)
    )
