"""Presets of users on MongoDB."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from msgspec import UNSET

from jan.errors import Conflict
from jan.storage.holdings import Amounts
from jan.storage.mongo.client import Collection, Connection
from jan.storage.mongo.documents import encode
from jan.storage.mongo.failures import unavailable
from jan.storage.mongo.holdings import MongoHoldings
from jan.storage.paging import id_of, page_of
from jan.storage.preset_records import PresetChanges, PresetRecord, name_key
from jan.storage.records import Page, now
from jan.storage.shared_rules import missing, taken

_ONE = Amounts(presets=1)
# Attempts to make a preset the default while other requests make others of the same user the default.
_ATTEMPTS = 20


class MongoPresets:
    """Implements ``preset_records.PresetRepository`` on MongoDB."""

    def __init__(self, connection: Connection, holdings: MongoHoldings) -> None:
        self.records = Collection(connection, "presets", PresetRecord)
        self._holdings = holdings

    async def create(self, preset: PresetRecord) -> None:
        async with self._holdings.adding(preset.user_id, _ONE, partial(self.records.has, preset.id)):
            with _naming():
                await self.records.insert(preset)

    async def get(self, user_id: str, preset_id: str) -> PresetRecord:
        found = await self.records.find_one({"_id": preset_id, "user_id": user_id})
        if found is None:
            raise missing(PresetRecord)
        return found

    async def page(
        self, user_id: str, *, limit: int, cursor: str | None = None, default: bool | None = None
    ) -> Page[PresetRecord]:
        among = {} if default is None else {"default": default}
        where = {"user_id": user_id, "_id": {"$gt": id_of(cursor)}, **among}
        found = await self.records.find(where, sort=[("_id", 1)], limit=limit + 1)
        return page_of(found, limit, lambda preset: preset.id)

    async def update(self, user_id: str, preset_id: str, changes: PresetChanges) -> PresetRecord:
        fields = {**encode(changes), "updated_at": now()}
        becomes_default = fields.pop("default", None)
        if changes.name is not UNSET:
            fields["name_key"] = name_key(user_id, changes.name)
        ended = {}
        if becomes_default is False:
            fields["default"], ended = False, {"$unset": {"default_key": ""}}
        with _naming():
            if not await self.records.update_one(
                {"_id": preset_id, "user_id": user_id}, {"$set": fields, **ended}
            ):
                raise missing(PresetRecord)
        if becomes_default:
            await self._make_default(user_id, preset_id)
        return await self.get(user_id, preset_id)

    async def _make_default(self, user_id: str, preset_id: str) -> None:
        """Make a preset the default in place of another. The index admits one at a time."""
        others = {"default_key": user_id, "_id": {"$ne": preset_id}}
        no_more = {"$set": {"default": False, "updated_at": now()}, "$unset": {"default_key": ""}}
        for _ in range(_ATTEMPTS):
            await self.records.update_many(others, no_more)
            try:
                await self.records.update_one(
                    {"_id": preset_id, "user_id": user_id}, {"$set": {"default": True, "default_key": user_id}}
                )
            except Conflict:  # another one became the default meanwhile
                continue
            return
        raise unavailable()

    async def delete(self, user_id: str, preset_id: str) -> None:
        if await self.records.take({"_id": preset_id, "user_id": user_id}) is None:
            raise missing(PresetRecord)
        await self._holdings.change(user_id, _ONE.negative())


@contextmanager
def _naming() -> Iterator[None]:
    """Say that a name is taken, where the index of names has refused a preset."""
    try:
        yield
    except Conflict as error:
        raise taken(PresetRecord, "name") if error.param == "name_key" else error from None
