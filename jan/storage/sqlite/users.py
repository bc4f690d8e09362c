"""Users, API keys and sessions on SQLite."""

import sqlite3
from datetime import datetime

import msgspec

from jan.schema.email_address import ascii_lower
from jan.schema.limits import Quota
from jan.storage.holdings import amounts_of_key
from jan.storage.paging import id_of, page_of
from jan.storage.records import ApiKey, OidcSubject, Page, User, UserChanges, milliseconds
from jan.storage.session_records import RefreshSession, Rotation
from jan.storage.shared_rules import apply, missing, rotated_key, rotation_refusal
from jan.storage.sqlite.database import Database
from jan.storage.sqlite.holdings import add_within, change
from jan.storage.sqlite.tables import KEYS, SESSIONS, USERS

_replace = msgspec.structs.replace


class SqliteUsers:
    """Implements ``repositories.UserRepository`` on SQLite."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def create(self, user: User) -> None:
        await self._db.write(lambda db: USERS.insert(db, user))

    async def get(self, user_id: str) -> User:
        return await self._db.read(lambda db: user_of(db, user_id))

    async def find_by_email(self, email: str) -> User | None:
        return await self._db.read(lambda db: USERS.find(db, "email = ?", ascii_lower(email.strip())))

    async def find_by_subject(self, subject: OidcSubject) -> User | None:
        key = f"{subject.issuer} {subject.subject}"
        return await self._db.read(lambda db: USERS.find(db, "oidc = ?", key))

    async def page(self, *, limit: int, cursor: str | None = None) -> Page[User]:
        after = id_of(cursor)
        clauses = "WHERE id > ? AND deleted_at IS NULL ORDER BY id LIMIT ?"
        found = await self._db.read(lambda db: USERS.select(db, clauses, after, limit + 1))
        return page_of(found, limit, lambda user: user.id)

    async def update(self, user_id: str, changes: UserChanges) -> User:
        return await self._db.write(
            lambda db: USERS.replace(db, apply(user_of(db, user_id), changes)), erases=True
        )


def user_of(db: sqlite3.Connection, user_id: str) -> User:
    """Return the user with this id. Raises NotFound, also for one who is deleted."""
    user = USERS.find(db, "id = ? AND deleted_at IS NULL", user_id)
    if user is None:
        raise missing(User)
    return user


class SqliteKeys:
    """Implements ``repositories.KeyRepository`` on SQLite."""

    def __init__(self, database: Database, quota: Quota) -> None:
        self._db = database
        self._quota = quota

    async def create(self, key: ApiKey) -> None:
        def work(db: sqlite3.Connection) -> None:
            KEYS.insert(db, key)
            add_within(db, key.user_id, amounts_of_key(key), self._quota)

        await self._db.write(work)

    async def find(self, key_id: str) -> ApiKey | None:
        return await self._db.read(lambda db: KEYS.find(db, "id = ?", key_id))

    async def find_by_hash(self, key_hash: str) -> ApiKey | None:
        return await self._db.read(lambda db: KEYS.find(db, "hash = ?", key_hash))

    async def page(self, user_id: str, *, limit: int, cursor: str | None = None) -> Page[ApiKey]:
        after = id_of(cursor)
        clauses = "WHERE user_id = ? AND id > ? ORDER BY id LIMIT ?"
        found = await self._db.read(lambda db: KEYS.select(db, clauses, user_id, after, limit + 1))
        return page_of(found, limit, lambda key: key.id)

    async def rename(self, user_id: str, key_id: str, name: str) -> ApiKey:
        return await self._db.write(
            lambda db: KEYS.replace(db, _replace(_key(db, user_id, key_id), name=name)), erases=True
        )

    async def revoke(self, user_id: str, key_id: str, at: datetime) -> ApiKey:
        def work(db: sqlite3.Connection) -> ApiKey:
            key = _key(db, user_id, key_id)
            if key.revoked_at:
                return key
            change(db, user_id, amounts_of_key(key).negative())
            return KEYS.replace(db, _replace(key, revoked_at=at))

        return await self._db.write(work)

    async def rotate(self, user_id: str, key_id: str, replacement: ApiKey, grace_ends: datetime) -> ApiKey:
        def work(db: sqlite3.Connection) -> ApiKey:
            KEYS.replace(db, rotated_key(_key(db, user_id, key_id), replacement.id, grace_ends))
            KEYS.insert(db, replacement)
            return replacement

        return await self._db.write(work)

    async def touch(self, key_id: str, at: datetime) -> None:
        def work(db: sqlite3.Connection) -> None:
            key = KEYS.find(db, "id = ?", key_id)
            if key and (key.last_used_at is None or key.last_used_at < at):
                KEYS.replace(db, _replace(key, last_used_at=at))

        await self._db.write(work)


def _key(db: sqlite3.Connection, user_id: str, key_id: str) -> ApiKey:
    key = KEYS.find(db, "id = ? AND user_id = ?", key_id, user_id)
    if key is None:
        raise missing(ApiKey)
    return key


class SqliteSessions:
    """Implements ``session_records.SessionRepository`` on SQLite."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def start(self, session: RefreshSession) -> None:
        await self._db.write(lambda db: SESSIONS.insert(db, session))

    async def find(self, session_id: str) -> RefreshSession | None:
        return await self._db.read(lambda db: SESSIONS.find(db, "id = ?", session_id))

    async def rotate(
        self, session_id: str, presented_jti: str, next_jti: str, *, at: datetime, expires_at: datetime
    ) -> Rotation:
        def work(db: sqlite3.Connection) -> Rotation:
            session = SESSIONS.find(db, "id = ?", session_id)
            refused = rotation_refusal(session, presented_jti, at)
            if session is None or refused is not None:
                if refused and refused.outcome == "reused" and refused.session:
                    SESSIONS.replace(db, refused.session)
                return refused or Rotation("unknown")
            fresh = _replace(session, current_jti=next_jti, last_used_at=at, expires_at=expires_at)
            return Rotation("rotated", SESSIONS.replace(db, fresh))

        return await self._db.write(work)

    async def page(self, user_id: str, *, limit: int, cursor: str | None = None) -> Page[RefreshSession]:
        after = id_of(cursor)
        clauses = "WHERE user_id = ? AND ended_at IS NULL AND id > ? ORDER BY id LIMIT ?"
        found = await self._db.read(lambda db: SESSIONS.select(db, clauses, user_id, after, limit + 1))
        return page_of(found, limit, lambda session: session.id)

    async def touch(self, session_id: str, at: datetime) -> None:
        def work(db: sqlite3.Connection) -> None:
            session = SESSIONS.find(db, "id = ?", session_id)
            if session and session.last_used_at < at:
                SESSIONS.replace(db, _replace(session, last_used_at=at))

        await self._db.write(work)

    async def end(self, session_id: str, *, at: datetime, reason: str) -> None:
        await self._db.write(lambda db: _end(db, at, reason, "id = ?", session_id))

    async def end_all(self, user_id: str, *, at: datetime, reason: str) -> int:
        return await self._db.write(lambda db: _end(db, at, reason, "user_id = ?", user_id))

    async def purge(self, before: datetime) -> int:
        return await self._db.purge("sessions", "expires_at < ?", milliseconds(before))


def _end(db: sqlite3.Connection, at: datetime, reason: str, where: str, value: str) -> int:
    still_open = SESSIONS.select(db, f"WHERE {where} AND ended_at IS NULL", value)
    for session in still_open:
        SESSIONS.replace(db, _replace(session, ended_at=at, reason=reason))
    return len(still_open)
