"""Presets of users, and the contract of their repository."""

import unicodedata
from datetime import datetime
from typing import Protocol

import msgspec
from msgspec import UNSET, UnsetType

from jan.schema.presets import PresetOptions
from jan.storage.records import Page, Record, new_id, now


class PresetRecord(Record, frozen=True, kw_only=True):
    """Settings of conversations under a name. ``default``: new conversations of its user begin with it."""

    id: str = msgspec.field(default_factory=lambda: new_id("preset"))
    user_id: str
    name: str
    model: str | None = None
    system_prompt: str = ""
    options: PresetOptions = PresetOptions()
    default: bool = False
    created_at: datetime = msgspec.field(default_factory=now)
    updated_at: datetime = msgspec.field(default_factory=now)

    @property
    def name_key(self) -> str:
        """Its user and compared name in one text, so that an index can keep the names of a user apart."""
        return name_key(self.user_id, self.name)

    @property
    def default_key(self) -> str | None:
        """Its user if it is the default, so that an index can keep a user from having two."""
        return self.user_id if self.default else None


class PresetChanges(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that an update sets. Fields left out stay as they are."""

    name: str | UnsetType = UNSET
    model: str | UnsetType | None = UNSET
    system_prompt: str | UnsetType = UNSET
    options: PresetOptions | UnsetType = UNSET
    default: bool | UnsetType = UNSET


def name_key(user_id: str, name: str) -> str:
    """Join a user and a name as names are compared: without case and needless blanks. An id has no blank."""
    compared = unicodedata.normalize("NFC", name).casefold()
    return f"{user_id} {' '.join(compared.split())}"


class PresetRepository(Protocol):
    """Presets, each visible to its owner only. No two of a user have the same name, and at most one is the
    default."""

    async def create(self, preset: PresetRecord) -> None:
        """Add a preset that is not the default. Raises Conflict if its id or name is taken, and RateLimited beyond
        the quota."""

    async def get(self, user_id: str, preset_id: str) -> PresetRecord:
        """Return the user's preset with this id. Raises NotFound."""

    async def page(
        self, user_id: str, *, limit: int, cursor: str | None = None, default: bool | None = None
    ) -> Page[PresetRecord]:
        """List the user's presets in order of creation: all of them, the default, or all others."""

    async def update(self, user_id: str, preset_id: str, changes: PresetChanges) -> PresetRecord:
        """Set the fields in ``changes`` and return the result. A new default takes the place of the old one.

        Raises NotFound, or Conflict if another preset of the user has the name.
        """

    async def delete(self, user_id: str, preset_id: str) -> None:
        """Remove a preset. Raises NotFound."""
