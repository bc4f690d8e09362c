"""Removes entries that are older than the audit is kept, up to a signed cut, so that the rest still verifies."""

from datetime import datetime

import structlog

from jan.audit.sealing import Seals
from jan.audit.verification import Broken, ChainCheck
from jan.storage.audit import AuditEntry, AuditMark, mark_id
from jan.storage.records import now
from jan.storage.repositories import Store

log = structlog.get_logger(__name__)

_BATCH = 500


async def cut_old(store: Store, seals: Seals, before: datetime) -> dict[str, int]:
    """Cut the chains whose first entries are from before this time; return how many entries each one lost.

    A chain ends up with all entries from its first one that is recent enough. One that does not verify is not
    cut, because nothing would show that afterwards.
    """
    removed: dict[str, int] = {}
    while chains := {entry.chain for entry in await store.audit.oldest(before, _BATCH)} - set(removed):
        for chain in sorted(chains):
            removed[chain] = await _cut(store, seals, chain, before)
    return {chain: entries for chain, entries in removed.items() if entries}


async def _cut(store: Store, seals: Seals, chain: str, before: datetime) -> int:
    marks = await store.audit.marks(chain)
    check = ChainCheck(chain, {mark_id(chain, mark.kind): mark for mark in marks}, seals)
    try:
        last = await _follow_old(store, check, chain, before)
    except Broken as broken:
        log.error("audit chain is broken, so its old entries are kept", entry=broken.record_id, why=broken.what)
        return 0
    return 0 if last is None else await store.audit.cut(_mark(seals, last))


async def _follow_old(store: Store, check: ChainCheck, chain: str, before: datetime) -> AuditEntry | None:
    """Check the entries from before a time; return the last of them. Raises Broken."""
    last: AuditEntry | None = None
    after = 0
    while batch := await store.audit.follow(chain, after=after, limit=_BATCH):
        for entry in batch:
            if entry.at >= before:
                return last
            check.follow(entry)
            last = entry
        after = batch[-1].sequence
    return last


def _mark(seals: Seals, last: AuditEntry) -> AuditMark:
    return seals.mark(last.chain, "cut", last.sequence, last.seal, now())
