"""Counts of what users store on SQLite, changed in the transaction that stores it."""

import sqlite3

from jan.schema.limits import Quota
from jan.storage.holdings import Amounts, excess
from jan.storage.sqlite.database import Database
from jan.storage.sqlite.tables import USERS

_NAMES = Amounts.__struct_fields__
_SELECT = f"SELECT {', '.join(_NAMES)} FROM holdings WHERE user_id = ?"
_SET = f"INSERT OR REPLACE INTO holdings (user_id, {', '.join(_NAMES)}) VALUES (?, {', '.join('?' * len(_NAMES))})"


def add_within(db: sqlite3.Connection, user_id: str, more: Amounts, quota: Quota) -> None:
    """Count what a user stores more. Raises RateLimited beyond the quota, except for administrators."""
    check(db, user_id, more, quota)
    change(db, user_id, more)


def check(db: sqlite3.Connection, user_id: str, more: Amounts, quota: Quota) -> None:
    """Raise RateLimited if a user can't store that much more. Administrators can."""
    refused = excess(held_by(db, user_id), more, quota)
    if refused is not None and not _is_admin(db, user_id):
        raise refused


def change(db: sqlite3.Connection, user_id: str, by: Amounts) -> None:
    """Change the counts of a user, whatever the quota."""
    held = held_by(db, user_id)
    if (changed := held.plus(by)) != held:
        _set(db, user_id, changed)


def held_by(db: sqlite3.Connection, user_id: str) -> Amounts:
    """Return what a user stores."""
    found = db.execute(_SELECT, (user_id,)).fetchone()
    return Amounts(**dict(zip(_NAMES, found, strict=True))) if found else Amounts()


def _set(db: sqlite3.Connection, user_id: str, held: Amounts) -> None:
    db.execute(_SET, (user_id, *(getattr(held, name) for name in _NAMES)))


def _is_admin(db: sqlite3.Connection, user_id: str) -> bool:
    user = USERS.find(db, "id = ?", user_id)
    return user is not None and user.role == "admin"


class SqliteHoldings:
    """Implements ``holdings.HoldingsRepository`` on SQLite."""

    def __init__(self, database: Database, quota: Quota) -> None:
        self._db = database
        self._quota = quota

    async def of(self, user_id: str) -> Amounts:
        return await self._db.read(lambda db: held_by(db, user_id))

    async def check(self, user_id: str, more: Amounts) -> None:
        await self._db.read(lambda db: check(db, user_id, more, self._quota))

    async def set(self, user_id: str, held: Amounts) -> None:
        await self._db.write(lambda db: _set(db, user_id, held))

    async def forget(self, user_id: str) -> None:
        await self._db.write(lambda db: db.execute("DELETE FROM holdings WHERE user_id = ?", (user_id,)).rowcount)
