"""Checks the whole audit: finds the first entry that was changed, removed, reordered or inserted."""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TypeVar

import msgspec

from jan.audit.sealing import Head, Seals, parse_head
from jan.storage.archive import Archive
from jan.storage.audit import AuditEntry, AuditMark, entry_id, mark_id
from jan.storage.records import Record

R = TypeVar("R", bound=Record)

_BATCH = 500


class Broken(Exception):
    """The audit is not as it was written. ``record_id`` is the first entry, or mark, of which that shows."""

    def __init__(self, record_id: str, what: str) -> None:
        super().__init__(f"{record_id} {what}")
        self.record_id = record_id
        self.what = what


class Verified(msgspec.Struct, frozen=True):
    """An audit that is whole. ``heads`` are those of all its chains, as logs name them."""

    entries: int
    chains: int
    heads: tuple[Head, ...]


class ChainCheck:
    """Follows one chain from its beginning, or from where it was cut."""

    def __init__(self, chain: str, marks: Mapping[str, AuditMark], seals: Seals) -> None:
        self._chain = chain
        self._seals = seals
        self._cut = marks.get(mark_id(chain, "cut"))
        self._head = marks.get(mark_id(chain, "head"))
        self.sequence = self._cut.sequence if self._cut else 0
        self.seal = self._cut.seal if self._cut else ""

    def follow(self, entry: AuditEntry) -> None:
        """Check the next entry. Raises Broken."""
        check_seal(entry, self._seals)
        if self._cut is not None and entry.sequence <= self._cut.sequence == self.sequence:
            return  # a cut was interrupted; the next one removes it
        if entry.sequence > self.sequence + 1:
            raise Broken(entry_id(self._chain, self.sequence + 1), "was removed or moved.")
        if entry.sequence <= self.sequence:
            raise Broken(entry.id, "is there a second time, or was moved.")
        if entry.previous != self.seal:
            raise Broken(entry.id, "does not follow the entry before it, which was replaced.")
        self.sequence, self.seal = entry.sequence, entry.seal
        if self._head is not None and self._head.sequence == entry.sequence and self._head.seal != entry.seal:
            raise Broken(entry.id, "is another one than the head of its chain says.")

    def end(self) -> None:
        """Check that no entry is missing at the end. Raises Broken."""
        if self._head is None:
            raise Broken(mark_id(self._chain, "head"), "was removed: it counts the entries of its chain.")
        if self._head.sequence > self.sequence:
            raise Broken(entry_id(self._chain, self.sequence + 1), "was removed, with all that followed it.")


def check_seal(record: AuditEntry | AuditMark, seals: Seals) -> None:
    """Raise Broken for a record that is not as this server sealed it, or that lies in another's place."""
    if not seals.knows(record.kid):
        raise Broken(record.id, f"is sealed with the key '{record.kid[:100]}', which is not in the data folder.")
    if not seals.fits(record):
        raise Broken(record.id, "does not fit its seal: it was changed, or inserted by somebody else.")
    if isinstance(record, AuditMark):
        own = mark_id(record.chain, record.kind)
    else:
        own = entry_id(record.chain, record.sequence)
    if record.id != own:
        raise Broken(record.id, f"holds what belongs to {own}.")


async def verify(archive: Archive, seals: Seals, heads: Iterable[Head] = ()) -> Verified:
    """Check all chains; ``heads`` are some that are known from elsewhere, such as the log. Raises Broken."""
    while True:
        # First, so that entries which are added meanwhile are checked, and none of them seems to be missing.
        marks = await _marks(archive, seals)
        try:
            return await _verify(archive, seals, marks, heads)
        except Broken:
            if _cuts(await _marks(archive, seals)) == _cuts(marks):
                raise  # otherwise old entries were removed meanwhile, as configured


async def _marks(archive: Archive, seals: Seals) -> dict[str, AuditMark]:
    marks = {mark.id: mark async for mark in _scan(archive, AuditMark)}
    for mark in marks.values():
        check_seal(mark, seals)
    return marks


def _cuts(marks: Mapping[str, AuditMark]) -> list[AuditMark]:
    return [mark for mark in marks.values() if mark.kind == "cut"]


async def _verify(
    archive: Archive, seals: Seals, marks: Mapping[str, AuditMark], heads: Iterable[Head]
) -> Verified:
    checks = {mark.chain: ChainCheck(mark.chain, marks, seals) for mark in marks.values()}
    known = dict.fromkeys(heads)
    count = 0
    async for entry in _scan(archive, AuditEntry):
        check_seal(entry, seals)
        check = checks.get(entry.chain)
        if check is None:
            check = checks[entry.chain] = ChainCheck(entry.chain, {}, seals)
        check.follow(entry)
        known.update(dict.fromkeys(map(parse_head, entry.after)))
        count += 1
    for check in checks.values():
        check.end()
    await _check_known(archive, marks, list(known))
    ends = tuple(Head(chain, check.sequence, check.seal) for chain, check in checks.items() if check.sequence)
    return Verified(count, len(ends), ends)


async def _check_known(archive: Archive, marks: Mapping[str, AuditMark], known: list[Head]) -> None:
    """Check that what other chains, and the log, say of the heads of chains is still so. Raises Broken."""
    for start in range(0, len(known), _BATCH):
        part = known[start : start + _BATCH]
        ids = [entry_id(head.chain, head.sequence) for head in part]
        found = {entry.id: entry for entry in await archive.matching(AuditEntry, ids)}
        for head, own_id in zip(part, ids, strict=True):
            cut = marks.get(mark_id(head.chain, "cut"))
            entry = found.get(own_id)
            if entry is None and (cut is None or cut.sequence < head.sequence):
                raise Broken(own_id, "was removed: another chain, or the log, names it.")
            if entry is not None and entry.seal != head.seal:
                raise Broken(own_id, "is another one than another chain, or the log, names.")


async def _scan(archive: Archive, kind: type[R]) -> AsyncIterator[R]:
    """Yield all records in order of id. Raises Broken for one that is none."""
    after, limit = "", _BATCH
    while True:
        try:
            batch = await archive.scan(kind, after=after, limit=limit)
        except (msgspec.MsgspecError, ValueError):
            if limit == 1:
                raise Broken(
                    f"The record after {after or 'the beginning'}", "can't be read: it was changed."
                ) from None
            limit = 1
            continue
        for record in batch:
            yield record
        if not batch:
            return
        if batch[-1].id <= after:
            raise Broken(batch[-1].id, "is not in its place.")
        after = batch[-1].id
