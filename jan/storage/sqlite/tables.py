"""Records in tables: the whole record as a JSON document, and the fields it is searched by as columns."""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import msgspec

from jan.storage.accounting import UsageRecord
from jan.storage.audit import AuditEntry, AuditMark
from jan.storage.earlier_messages import read_message
from jan.storage.folded_text import fold
from jan.storage.idempotent_answers import IdempotentAnswer
from jan.storage.preset_records import PresetRecord
from jan.storage.queued_answers import QueuedAnswer
from jan.storage.records import ApiKey, ConversationRecord, MessageRecord, Record, User, milliseconds
from jan.storage.session_records import RefreshSession
from jan.storage.share_records import ShareRecord

R = TypeVar("R", bound=Record)

Value = str | int | None


class Table(Generic[R]):
    """The table of one kind of record, which ``read`` reads. Its methods run inside the caller's transaction."""

    def __init__(
        self,
        name: str,
        kind: type[R],
        columns: Mapping[str, Callable[[R], Value]],
        read: Callable[[str], R] | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self._columns = MappingProxyType({"id": lambda record: record.id, **columns})
        self._read = read or msgspec.json.Decoder(kind).decode
        names, marks = ", ".join(self._columns), ", ".join("?" * len(self._columns))
        assignments = ", ".join(f"{column} = ?" for column in self._columns)
        self._insert = f"INSERT INTO {name} ({names}, doc) VALUES ({marks}, ?)"
        self._replace = f"UPDATE {name} SET {assignments}, doc = ? WHERE id = ?"

    def insert(self, db: sqlite3.Connection, record: R) -> int:
        """Add a record and return its bytes. Raises sqlite3.IntegrityError if a unique column's value is taken."""
        row = self._row(record)
        db.execute(self._insert, row)
        return len(row[-1].encode())

    def has(self, db: sqlite3.Connection, record_id: str) -> bool:
        """Return True if there is a record with this id."""
        return db.execute(f"SELECT 1 FROM {self.name} WHERE id = ?", (record_id,)).fetchone() is not None

    def resize(self, db: sqlite3.Connection, record: R) -> int:
        """Store the record in place of the one with its id, and return by how many bytes it is larger."""
        sql = f"SELECT length(CAST(doc AS BLOB)) FROM {self.name} WHERE id = ?"
        [before] = db.execute(sql, (record.id,)).fetchone()
        self.replace(db, record)
        [after] = db.execute(sql, (record.id,)).fetchone()
        grown: int = after - before
        return grown

    def replace(self, db: sqlite3.Connection, record: R) -> R:
        """Store the record in place of the one with its id, and return it."""
        db.execute(self._replace, (*self._row(record), record.id))
        return record

    def find(self, db: sqlite3.Connection, where: str, *values: Value) -> R | None:
        """Return the first record for which the condition holds."""
        found = self.select(db, f"WHERE {where} LIMIT 1", *values)
        return found[0] if found else None

    def select(self, db: sqlite3.Connection, clauses: str, *values: Value) -> list[R]:
        """Return the records that a SELECT with these clauses finds."""
        rows = db.execute(f"SELECT doc FROM {self.name} {clauses}", values)
        return [self._read(doc) for (doc,) in rows]

    def select_within(
        self, db: sqlite3.Connection, clauses: str, *values: Value, admits: Callable[[int], bool]
    ) -> list[R]:
        """Select records up to the first whose size in characters ``admits`` refuses. The rest is not read."""
        found: list[R] = []
        with closing(db.execute(f"SELECT doc FROM {self.name} {clauses}", values)) as rows:
            for (doc,) in rows:
                if not admits(len(doc)):
                    break
                found.append(self._read(doc))
        return found

    def _row(self, record: R) -> tuple[Any, ...]:
        document = msgspec.json.encode(record).decode()
        return (*(value(record) for value in self._columns.values()), document)


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else milliseconds(moment)


def subject_key(user: User) -> str | None:
    """Join issuer and subject in one column. An issuer is a URL, so it has no space."""
    return f"{user.oidc.issuer} {user.oidc.subject}" if user.oidc else None


USERS = Table(
    "users", User, {"email": lambda r: r.email, "oidc": subject_key, "deleted_at": lambda r: _ms(r.deleted_at)}
)
KEYS = Table("api_keys", ApiKey, {"user_id": lambda r: r.user_id, "hash": lambda r: r.hash})
SESSIONS = Table(
    "sessions",
    RefreshSession,
    {
        "user_id": lambda r: r.user_id,
        "expires_at": lambda r: _ms(r.expires_at),
        "ended_at": lambda r: _ms(r.ended_at),
    },
)
CONVERSATIONS = Table(
    "conversations",
    ConversationRecord,
    {
        "user_id": lambda r: r.user_id,
        "position": lambda r: r.position,
        "title_folded": lambda r: fold(r.title),
        "unnamed": lambda r: int(r.unnamed),
        "origin_key": lambda r: r.origin_key,
        "pinned": lambda r: int(r.pinned),
        "archived": lambda r: int(r.archived),
        "folder": lambda r: r.folder,
    },
)
MESSAGES = Table(
    "messages",
    MessageRecord,
    {
        "conversation_id": lambda r: r.conversation_id,
        "parent_id": lambda r: r.parent_id,
        "sequence": lambda r: r.sequence,
        "status": lambda r: r.status,
        "updated_at": lambda r: _ms(r.updated_at),
        "completion_of": lambda r: r.completion_of,
    },
    read_message,
)
ANSWERS = Table(
    "given_answers",
    IdempotentAnswer,
    {"first_at": lambda r: _ms(r.first_at), "about": lambda r: r.about, "user_id": lambda r: r.user_id},
)
QUEUED_ANSWERS = Table(
    "queued_answers",
    QueuedAnswer,
    {
        "user_id": lambda r: r.user_id,
        "conversation_id": lambda r: r.conversation_id,
        "holder": lambda r: r.holder,
        "held_until": lambda r: _ms(r.held_until),
    },
)
SHARES = Table(
    "shares",
    ShareRecord,
    {
        "user_id": lambda r: r.user_id,
        "conversation_id": lambda r: r.conversation_id,
        "hash": lambda r: r.hash,
        "expires_at": lambda r: _ms(r.expires_at),
    },
)
PRESETS = Table(
    "presets",
    PresetRecord,
    {
        "user_id": lambda r: r.user_id,
        "name_key": lambda r: r.name_key,
        "default_key": lambda r: r.default_key,
    },
)
USAGE = Table("usage", UsageRecord, {"user_id": lambda r: r.user_id, "day": lambda r: r.day.isoformat()})
AUDIT = Table(
    "audit",
    AuditEntry,
    {
        "position": lambda r: r.position,
        "user_id": lambda r: r.user_id,
        "actor": lambda r: r.actor,
        "act": lambda r: r.act,
    },
)
AUDIT_MARKS = Table("audit_marks", AuditMark, {"kind": lambda r: r.kind, "at": lambda r: _ms(r.at)})
ARCHIVED_TABLES: tuple[Table[Any], ...] = (
    USERS,
    KEYS,
    SESSIONS,
    CONVERSATIONS,
    MESSAGES,
    QUEUED_ANSWERS,
    SHARES,
    PRESETS,
    USAGE,
    AUDIT,
    AUDIT_MARKS,
)
