"""Exports everything in a store as lines of JSON and imports it: to change the backend, or to keep a copy.

The first line names the format and the last one counts the records, so a truncated file is refused. Between them
come the conversations, each followed by its messages in order, then answers in the queue, shares, presets,
sessions, keys, usage, the audit and users. Of the audit, the heads of its chains come first, so that no entry that
a head counts is missing. A store may be in use during an export. Each conversation is then consistent, but the
file as a whole is not a snapshot. Users come last: whoever is deleted meanwhile is not in the file, and an import
leaves out what belongs to nobody in it.

An import checks the whole file first. It refuses a store that holds anything that is not identical in the file,
and adds the rest, all or nothing. MongoDB has no transactions of this size: an interrupted import leaves a
mark there, and no server opens the store until the import was run again.

The file holds what the store holds: addresses, conversations and hashes of keys. Keep it private.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import groupby, islice
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, TypeVar

import msgspec

from jan.errors import Conflict, InvalidRequest
from jan.storage.accounting import UsageRecord
from jan.storage.audit import AuditEntry, AuditMark
from jan.storage.earlier_messages import read_message
from jan.storage.holdings import Amounts, amounts_of, amounts_of_key
from jan.storage.preset_records import PresetRecord
from jan.storage.queued_answers import QueuedAnswer
from jan.storage.records import ApiKey, ConversationRecord, MessageRecord, Record, User
from jan.storage.repositories import NOBODY, Store
from jan.storage.session_records import RefreshSession
from jan.storage.share_records import ShareRecord

R = TypeVar("R", bound=Record)

FORMAT = "jan-store-2"
# Messages of earlier files have no items.
_FORMATS = ("jan-store-1", FORMAT)
_BATCH = 200
_KINDS: Mapping[str, type[Record]] = MappingProxyType(
    {
        "conversation": ConversationRecord,
        "message": MessageRecord,
        "queued_answer": QueuedAnswer,
        "share": ShareRecord,
        "preset": PresetRecord,
        "session": RefreshSession,
        "key": ApiKey,
        "usage": UsageRecord,
        "audit_mark": AuditMark,
        "audit": AuditEntry,
        "user": User,
    }
)
_OF_USERS = (ConversationRecord, QueuedAnswer, ShareRecord, PresetRecord, RefreshSession, ApiKey, UsageRecord)


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    record: msgspec.Raw


class _RecordId(msgspec.Struct):
    """The fields that a record must bring along, because it would otherwise be given new ones."""

    id: str


class _DatedRecordId(_RecordId):
    created_at: datetime


class _FirstLine(msgspec.Struct, forbid_unknown_fields=True):
    format: str


class _LastLine(msgspec.Struct, forbid_unknown_fields=True):
    records: int


async def export_store(store: Store, out: BinaryIO) -> int:
    """Write every record to ``out`` and return their number. The caller opens, syncs and closes it."""
    written = 0
    _write(out, _FirstLine(FORMAT))
    async for record in _everything(store):
        name = next(name for name, kind in _KINDS.items() if kind is type(record))
        _write(out, _Line(name, msgspec.Raw(msgspec.json.encode(record))))
        written += 1
    _write(out, _LastLine(written))
    return written


async def import_store(store: Store, path: Path) -> int:
    """Add the records of an exported file to ``store`` and return the number added.

    Raises InvalidRequest for a damaged file and Conflict for a store with records of its own. Both are raised
    before anything is written.
    """
    found: Counter[type[Record]] = Counter()
    held: dict[str, Amounts] = {}
    owners = _owners(path)
    for kind, batch in _batches(path, owners):
        found[kind] += len(await _present(store, kind, batch))
        for user_id, more in _amounts(batch):
            held[user_id] = held.get(user_id, Amounts()).plus(more)
    for kind in _KINDS.values():
        # Chains of the audit are independent of each other, and this import will be in one of its own.
        if kind in (AuditEntry, AuditMark):
            continue
        if await store.archive.count(kind) > found[kind]:
            raise Conflict("The store holds records that are not in the file. Import into an empty one.")
    for user_id, amounts in held.items():
        await store.holdings.set(user_id, amounts)
    return await store.archive.load(_batches(path, owners))


def _amounts(batch: Iterable[Record]) -> Iterator[tuple[str, Amounts]]:
    """Yield what records count for the quotas of their users. A conversation counts its messages."""
    for record in batch:
        if isinstance(record, ConversationRecord):
            yield record.user_id, amounts_of(record)
        elif isinstance(record, ApiKey):
            yield record.user_id, amounts_of_key(record)
        elif isinstance(record, ShareRecord):
            yield record.user_id, Amounts(shares=1)
        elif isinstance(record, PresetRecord):
            yield record.user_id, Amounts(presets=1)


async def _everything(store: Store) -> AsyncIterator[Record]:
    async for conversation in _scan(store, ConversationRecord):
        if conversation.user_id == NOBODY:
            continue  # the mark of an import under way
        yield conversation
        async for message in _messages(store, conversation):
            yield message
    apart = (kind for kind in _KINDS.values() if kind not in (ConversationRecord, MessageRecord))
    for kind in apart:
        async for record in _scan(store, kind):
            if not (isinstance(record, User) and record.deleted_at):
                yield record


async def _scan(store: Store, kind: type[R]) -> AsyncIterator[R]:
    after = ""
    while batch := await store.archive.scan(kind, after=after, limit=_BATCH):
        for record in batch:
            yield record
        after = batch[-1].id


async def _messages(store: Store, conversation: ConversationRecord) -> AsyncIterator[MessageRecord]:
    """Yield the messages that the conversation counted when it was read. Later ones do not match its record."""
    cursor: str | None = "0"
    while cursor is not None and int(cursor) < conversation.message_count:
        page = await store.messages.page(conversation.user_id, conversation.id, limit=_BATCH, cursor=cursor)
        for message in page.items:
            if message.sequence <= conversation.message_count:
                yield message
        cursor = page.next_cursor


async def _present(store: Store, kind: type[R], batch: list[R]) -> set[str]:
    """Return the ids of records already stored. Raises Conflict if a stored record differs."""
    stored = {record.id: record for record in await store.archive.matching(kind, [r.id for r in batch])}
    for record in batch:
        if stored.get(record.id, record) != record:
            raise Conflict(f"The store holds another {kind.__name__} with the id {record.id}.")
    return set(stored)


def _owners(path: Path) -> frozenset[str]:
    """Return whose records an import takes: those of the users in the file, and of all who are unknown."""
    with path.open("rb") as file:
        return frozenset(["", *(record.id for record in _records(file) if isinstance(record, User))])


def _owned(records: Iterable[Record], owners: frozenset[str]) -> Iterator[Record]:
    """Yield records whose owners are among these. A message belongs to the conversation before it."""
    left_out = False
    for record in records:
        if isinstance(record, _OF_USERS):
            left_out = record.user_id not in owners
        elif not isinstance(record, MessageRecord):
            left_out = False
        if not left_out:
            yield record


def _batches(path: Path, owners: frozenset[str]) -> Iterator[tuple[type[Record], list[Record]]]:
    """Yield runs of records of one kind, in batches that fit in memory."""
    with path.open("rb") as file:
        for kind, run in groupby(_owned(_records(file), owners), key=type):
            while batch := list(islice(run, _BATCH)):
                yield kind, batch


def _records(lines: Iterable[bytes]) -> Iterator[Record]:
    """Yield the checked records of a file. Raises InvalidRequest that names the first wrong line."""
    order = _Order()
    numbered = enumerate(lines, start=1)
    header = _decode(next(numbered, (1, b"")), _FirstLine)
    if header.format not in _FORMATS:
        raise _damaged(1, f"Unknown format '{header.format}'; allowed: {', '.join(_FORMATS)}.")
    pending, count = next(numbered, (2, b"")), 0
    for following in numbered:
        record = _record(pending)
        try:
            order.admit(record)
        except ValueError as error:
            raise _damaged(pending[0], str(error)) from None
        yield record
        pending, count = following, count + 1
    if _decode(pending, _LastLine).records != count:
        raise _damaged(pending[0], "The last line counts another number of records.")


def _record(numbered: tuple[int, bytes]) -> Record:
    number, line = numbered[0], _decode(numbered, _Line)
    if line.kind not in _KINDS:
        raise _damaged(number, f"Unknown kind '{line.kind}'; allowed: {', '.join(_KINDS)}.")
    kind = _KINDS[line.kind]
    _decode((number, bytes(line.record)), _DatedRecordId if "created_at" in kind.__struct_fields__ else _RecordId)
    if kind is MessageRecord:
        return _read((number, bytes(line.record)), read_message)
    return _decode((number, bytes(line.record)), kind)


class _Order:
    """Refuses records that are out of order, repeated or outside the tree, which a store would notice too late."""

    def __init__(self) -> None:
        self._last_ids: dict[type[Record], str] = {}
        self._conversation: ConversationRecord | None = None
        self._messages: set[str] = set()

    def admit(self, record: Record) -> None:
        """Accept a record that may follow those accepted before. Raises ValueError otherwise."""
        if isinstance(record, MessageRecord):
            self._admit_message(record)
            return
        if record.id <= self._last_ids.get(type(record), ""):
            raise ValueError("Records of a kind must be in order of id.")
        self._last_ids[type(record)] = record.id
        if isinstance(record, ConversationRecord):
            self._conversation, self._messages = record, set()

    def _admit_message(self, message: MessageRecord) -> None:
        if self._conversation is None or message.conversation_id != self._conversation.id:
            raise ValueError("A message must follow its conversation.")
        if message.sequence != len(self._messages) + 1 or message.id in self._messages:
            raise ValueError("Messages must be in order of sequence, without gaps.")
        if message.parent_id is not None and message.parent_id not in self._messages:
            raise ValueError("The parent of a message must come before it.")
        self._messages.add(message.id)


D = TypeVar("D")


def _decode(numbered: tuple[int, bytes], kind: type[D]) -> D:
    return _read(numbered, msgspec.json.Decoder(kind).decode)


def _read(numbered: tuple[int, bytes], read: Callable[[bytes], D]) -> D:
    number, line = numbered
    try:
        return read(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _damaged(number, f"{error}.") from None


def _damaged(number: int, what: str) -> InvalidRequest:
    return InvalidRequest(f"line {number}: {what} Nothing was imported.", code="invalid_export")


def _write(out: BinaryIO, line: msgspec.Struct) -> None:
    out.write(msgspec.json.encode(line) + b"\n")
