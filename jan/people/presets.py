"""Presets of users: the one way to their records."""

from jan.idempotency.ids import IdSource
from jan.storage.preset_records import PresetChanges, PresetRecord
from jan.storage.records import Page
from jan.storage.repositories import Store


class UserPresets:
    """The presets of all users. Every method may raise Unavailable; NotFound stands for another's preset too."""

    def __init__(self, store: Store) -> None:
        self._presets = store.presets

    async def create(self, preset: PresetRecord, ids: IdSource, *, default: bool) -> PresetRecord:
        """Store a new preset whose id is from ``ids``, and return it; an earlier attempt at it counts as this one.

        Raises Conflict if another preset of the user has its name, and RateLimited beyond the quota.
        """
        made = await ids.make(preset, self._presets.create, lambda: self._presets.get(preset.user_id, preset.id))
        return await self.update(preset.user_id, made.id, PresetChanges(default=True)) if default else made

    async def get(self, user_id: str, preset_id: str) -> PresetRecord:
        """Return one preset; raises NotFound."""
        return await self._presets.get(user_id, preset_id)

    async def page(
        self, user_id: str, *, limit: int, cursor: str | None = None, default: bool | None = None
    ) -> Page[PresetRecord]:
        """Return one page of a user's presets in order of creation. Raises InvalidRequest for a malformed
        cursor."""
        return await self._presets.page(user_id, limit=limit, cursor=cursor, default=default)

    async def update(self, user_id: str, preset_id: str, changes: PresetChanges) -> PresetRecord:
        """Set what ``changes`` names and return the preset; changes that set nothing leave its time of change.

        Raises NotFound, and Conflict if another preset of the user has the name.
        """
        if changes == PresetChanges():
            return await self.get(user_id, preset_id)
        return await self._presets.update(user_id, preset_id, changes)

    async def delete(self, user_id: str, preset_id: str) -> None:
        """Remove a preset; raises NotFound."""
        await self._presets.delete(user_id, preset_id)
