"""Serves /user/presets and what is below it: the caller's own presets."""

import msgspec

from jan.errors import Conflict, NotFound
from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.presets import (
    Preset,
    PresetCreate,
    PresetDeleted,
    PresetList,
    PresetListQuery,
    PresetOptions,
    PresetUpdate,
)
from jan.schema.scopes import READ, WRITE
from jan.storage.preset_records import PresetChanges, PresetRecord


def _wire(preset: PresetRecord) -> Preset:
    return msgspec.convert(preset, Preset, from_attributes=True)


class PresetCollection(Handler):
    """The presets of the caller."""

    @operation(
        summary="List presets",
        access=READ,
        tag="user",
        query=PresetListQuery,
        response=PresetList,
        examples=(Example(summary="My presets"),),
    )
    async def get(self, query: PresetListQuery) -> PresetList:
        """List the caller's presets in order of creation, a page at a time: `next_cursor` of one page is the
        `cursor` of the next."""
        page = await self.services.presets.page(
            self.user_id, limit=query.limit, cursor=query.cursor, default=query.default
        )
        return PresetList(
            data=[_wire(preset) for preset in page.items],
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
        )

    @operation(
        summary="Create a preset",
        access=WRITE,
        tag="user",
        request=PresetCreate,
        response=Preset,
        creates=True,
        errors=(Conflict,),
        examples=(
            Example(
                summary="Exact answers",
                body={
                    "name": "Exact",
                    "model": "jan-v1-4b",
                    "system_prompt": "Answer in one sentence.",
                    "options": {"temperature": 0, "max_tokens": 200},
                },
            ),
            Example(
                summary="The default of new conversations",
                body={"name": "Lively", "options": {"temperature": 1.2, "min_p": 0.05}, "default": True},
            ),
        ),
    )
    async def post(self, body: PresetCreate) -> Preset:
        """Keep settings of conversations under a name. Nothing is applied by itself: a client sends `model`,
        `system_prompt` and `options` with its requests. The web page begins new conversations with the default."""
        new = PresetRecord(
            id=self.mint.new_id("preset"),
            user_id=self.user_id,
            name=body.name,
            model=body.model,
            system_prompt=body.system_prompt or "",
            options=body.options or PresetOptions(),
        )
        self.mint.concern(new.id)
        return _wire(await self.services.presets.create(new, self.mint, default=body.default))


class OnePreset(Handler):
    """One preset of the caller."""

    @operation(
        summary="Get a preset",
        access=READ,
        tag="user",
        response=Preset,
        errors=(NotFound,),
    )
    async def get(self, preset_id: str) -> Preset:
        """Return one of the caller's presets by its id."""
        return _wire(await self.services.presets.get(self.user_id, preset_id))

    @operation(
        summary="Change a preset",
        access=WRITE,
        tag="user",
        request=PresetUpdate,
        response=Preset,
        errors=(NotFound, Conflict),
        examples=(
            Example(summary="Another name", body={"name": "Brief"}),
            Example(summary="The default from now on", body={"default": True}),
            Example(summary="Other options", body={"options": {"temperature": 0.2}}),
        ),
    )
    async def patch(self, preset_id: str, body: PresetUpdate) -> Preset:
        """Set name, model, system prompt, options or default; what the body leaves out stays as it is. A new
        default takes the place of the old one."""
        changes = PresetChanges(
            name=body.name,
            model=body.model,
            system_prompt="" if body.system_prompt is None else body.system_prompt,
            options=PresetOptions() if body.options is None else body.options,
            default=body.default,
        )
        return _wire(await self.services.presets.update(self.user_id, preset_id, changes))

    @operation(
        summary="Delete a preset",
        access=WRITE,
        tag="user",
        response=PresetDeleted,
        errors=(NotFound,),
    )
    async def delete(self, preset_id: str) -> PresetDeleted:
        """Remove the preset, for good. Conversations that began with it stay as they are."""
        await self.services.presets.delete(self.user_id, preset_id)
        await self.services.idempotency.forget_about(preset_id)
        return PresetDeleted(id=preset_id)
