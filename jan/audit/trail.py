"""The audit as the rest of the server uses it: record acts, count refusals, list entries."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import timedelta

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from jan.audit.acts import Act, Actor, acting
from jan.audit.chain_writer import ChainWriter, Event
from jan.audit.refusal_counts import OTHERS, RefusalCounts
from jan.audit.retention import cut_old
from jan.audit.sealing import Head, Seals
from jan.audit.verification import Broken, Verified, verify
from jan.storage.audit import ALL_ENTRIES, AuditEntry, AuditFilter
from jan.storage.records import Page, now
from jan.storage.repositories import Store

log = structlog.get_logger(__name__)

_MINUTE_SECONDS = 60.0
_CUT_EVERY_SECONDS = 3600.0
_CLOSE_SECONDS = 5.0


class AuditTrail:
    """Implements ``acts.Auditor`` over a store. Also a Prometheus collector.

    ``shown`` turns an address into what is kept of it. ``keep_days``: how long entries are kept; None: for ever.
    ``logged``: log heads and failures, as a server does.
    """

    def __init__(
        self,
        store: Store,
        seals: Seals,
        *,
        shown: Callable[[str], str] = str,
        keep_days: int | None = None,
        logged: bool = False,
    ) -> None:
        self._store = store
        self._seals = seals
        self._shown = shown
        self._keep = None if keep_days is None else timedelta(days=keep_days)
        self._writer = ChainWriter(store.audit, seals, logged=logged)
        self._refusals = RefusalCounts()
        self._minute: asyncio.TimerHandle | None = None
        self._cut_at: float | None = None

    async def record(
        self, act: Act, *, user_id: str | None = None, target: str | None = None, **details: str
    ) -> None:
        """Record an act durably. Raises Unavailable; the entry is then written as soon as the store is back."""
        await self._writer.store(self._event(act, user_id, target, details))

    def note(self, act: Act, *, user_id: str | None = None, target: str | None = None, **details: str) -> None:
        """Record an act without waiting for the store."""
        self._writer.put(self._event(act, user_id, target, details))

    def _event(self, act: Act, user_id: str | None, target: str | None, details: dict[str, str]) -> Event:
        actor = self._shown_actor(acting.get())
        return Event(act=act, actor=actor, user_id=user_id, target=target, details=details)

    def _shown_actor(self, actor: Actor) -> Actor:
        if actor.address is None or actor.address == OTHERS:
            return actor
        return Actor(actor.id, actor.credential, self._shown(actor.address))

    def refused(self, act: Act, client: str, actor: Actor, code: str) -> None:
        """Count a refusal. Those of one client in one minute make one entry. ``client``: who is counted as one."""
        if self._refusals.add(act, client, actor, code):
            loop = asyncio.get_running_loop()
            self._minute = loop.call_later(_MINUTE_SECONDS, self._note_refusals)

    def _note_refusals(self) -> None:
        for refused in self._refusals.take():
            actor = self._shown_actor(refused.actor)
            codes = {code: str(count) for code, count in refused.codes.items()}
            self._writer.put(
                Event(act=refused.act, actor=actor, user_id=actor.id, count=refused.count, details=codes)
            )

    async def page(
        self, *, limit: int, cursor: str | None = None, wanted: AuditFilter = ALL_ENTRIES
    ) -> Page[AuditEntry]:
        """List entries, the newest first. Raises InvalidRequest for a malformed cursor, and Unavailable."""
        return await self._store.audit.page(limit=limit, cursor=cursor, wanted=wanted)

    async def verify(self, heads: Iterable[Head] = ()) -> Verified:
        """Check all entries; ``heads`` are known from elsewhere. Raises Broken, and Unavailable."""
        found = await verify(self._store.archive, self._seals, heads)
        if (entry_id := await self._store.audit.misfiled()) is not None:
            raise Broken(entry_id, "is filed under other fields than its own, so that lists hide it.")
        return found

    async def tidy(self) -> None:
        """Remove entries that are older than they are kept, once an hour. Raises Unavailable."""
        at = asyncio.get_running_loop().time()
        if self._keep is None or (self._cut_at is not None and at - self._cut_at < _CUT_EVERY_SECONDS):
            return
        self._cut_at = at
        for chain, entries in (await cut_old(self._store, self._seals, now() - self._keep)).items():
            self.note("audit.cut", target=chain, entries=str(entries))

    async def close(self) -> None:
        """Write what waits, as far as the store takes it within seconds, and log the last head."""
        if self._minute is not None:
            self._minute.cancel()
        self._note_refusals()
        await self._writer.close(_CLOSE_SECONDS)

    def collect(self) -> Iterable[Metric]:
        """Return the numbers of entries stored, waiting and lost."""
        stored = CounterMetricFamily("jan_audit_entries", "Audit entries stored", labels=["act"])
        for act, number in self._writer.stored.items():
            stored.add_metric([act], number)
        return [
            stored,
            GaugeMetricFamily("jan_audit_waiting", "Audit entries not stored yet", value=self._writer.waiting),
            CounterMetricFamily(
                "jan_audit_lost", "Audit entries lost, because too many waited", value=self._writer.lost
            ),
        ]
