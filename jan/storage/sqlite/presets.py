"""Presets of users on SQLite."""

import sqlite3

import msgspec

from jan.schema.limits import Quota
from jan.storage.holdings import Amounts
from jan.storage.paging import id_of, page_of
from jan.storage.preset_records import PresetChanges, PresetRecord
from jan.storage.records import Page, now
from jan.storage.shared_rules import apply, missing, taken
from jan.storage.sqlite.database import Database
from jan.storage.sqlite.holdings import add_within, change
from jan.storage.sqlite.tables import PRESETS

_replace = msgspec.structs.replace
_ONE = Amounts(presets=1)
_IN_ORDER = "WHERE user_id = ? AND id > ? {} ORDER BY id LIMIT ?"
_AMONG = {None: "", True: "AND default_key IS NOT NULL", False: "AND default_key IS NULL"}


class SqlitePresets:
    """Implements ``preset_records.PresetRepository`` on SQLite."""

    def __init__(self, database: Database, quota: Quota) -> None:
        self._db = database
        self._quota = quota

    async def create(self, preset: PresetRecord) -> None:
        def work(db: sqlite3.Connection) -> None:
            _check_name(db, preset)
            PRESETS.insert(db, preset)
            add_within(db, preset.user_id, _ONE, self._quota)

        await self._db.write(work)

    async def get(self, user_id: str, preset_id: str) -> PresetRecord:
        return await self._db.read(lambda db: _owned(db, user_id, preset_id))

    async def page(
        self, user_id: str, *, limit: int, cursor: str | None = None, default: bool | None = None
    ) -> Page[PresetRecord]:
        clauses, after = _IN_ORDER.format(_AMONG[default]), id_of(cursor)
        found = await self._db.read(lambda db: PRESETS.select(db, clauses, user_id, after, limit + 1))
        return page_of(found, limit, lambda preset: preset.id)

    async def update(self, user_id: str, preset_id: str, changes: PresetChanges) -> PresetRecord:
        def work(db: sqlite3.Connection) -> PresetRecord:
            changed = _replace(apply(_owned(db, user_id, preset_id), changes), updated_at=now())
            _check_name(db, changed)
            former = PRESETS.find(db, "default_key = ? AND id <> ?", user_id, preset_id)
            if changed.default and former is not None:
                PRESETS.replace(db, _replace(former, default=False, updated_at=now()))
            return PRESETS.replace(db, changed)

        return await self._db.write(work, erases=True)

    async def delete(self, user_id: str, preset_id: str) -> None:
        def work(db: sqlite3.Connection) -> None:
            _owned(db, user_id, preset_id)
            db.execute("DELETE FROM presets WHERE id = ?", (preset_id,))
            change(db, user_id, _ONE.negative())

        await self._db.write(work, erases=True)


def _owned(db: sqlite3.Connection, user_id: str, preset_id: str) -> PresetRecord:
    found = PRESETS.find(db, "id = ? AND user_id = ?", preset_id, user_id)
    if found is None:
        raise missing(PresetRecord)
    return found


def _check_name(db: sqlite3.Connection, preset: PresetRecord) -> None:
    """Raise Conflict if another preset of the user has the name."""
    if PRESETS.find(db, "name_key = ? AND id <> ?", preset.name_key, preset.id) is not None:
        raise taken(PresetRecord, "name")
