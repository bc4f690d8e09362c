"""The contract of presets: names apart, one default, counted; on every backend."""

import asyncio
import secrets

import pytest
from support.earlier_store import set_back
from support.mongodb import mongo_client

from jan.errors import Conflict, NotFound, RateLimited
from jan.schema.limits import Quota
from jan.schema.presets import PresetOptions
from jan.storage import Store, store_from_url
from jan.storage.preset_records import PresetChanges, PresetRecord
from jan.storage.records import ApiKey, User

ME, OTHER = "user_1", "user_2"
# The schema version before there were presets.
WITHOUT = 19


async def made(store: Store, name: str, user_id: str = ME) -> PresetRecord:
    preset = PresetRecord(user_id=user_id, name=name, model="m", options=PresetOptions(temperature=0.5))
    await store.presets.create(preset)
    return preset


async def defaults(store: Store, user_id: str = ME) -> list[str]:
    page = await store.presets.page(user_id, limit=9, default=True)
    return [preset.name for preset in page.items]


async def test_a_preset_is_kept_changed_and_removed(store: Store) -> None:
    """Fields that are left out stay; another's preset is missing to everybody else."""
    preset = await made(store, "Exact")
    assert await store.presets.get(ME, preset.id) == preset
    changes = PresetChanges(model=None, system_prompt="$x.\u0000", options=PresetOptions(seed=-(2**63)))
    changed = await store.presets.update(ME, preset.id, changes)
    assert (changed.name, changed.model, changed.system_prompt) == ("Exact", None, "$x.\u0000")
    assert changed.options == PresetOptions(seed=-(2**63))
    assert changed.updated_at >= preset.updated_at
    assert await store.presets.get(ME, preset.id) == changed
    for call in (
        store.presets.get(OTHER, preset.id),
        store.presets.update(OTHER, preset.id, PresetChanges(name="x")),
        store.presets.update(OTHER, preset.id, PresetChanges(default=True)),
        store.presets.delete(OTHER, preset.id),
    ):
        with pytest.raises(NotFound, match="No preset with this id"):
            await call
    await store.presets.delete(ME, preset.id)
    assert (await store.presets.page(ME, limit=5)).items == []
    assert (await store.holdings.of(ME)).presets == 0


async def test_names_are_apart(store: Store) -> None:
    """Whatever their case and blanks, for each user alone, and free again once their preset has another."""
    first, second = await made(store, "Café  Exact"), await made(store, "Second")
    await made(store, "café exact", OTHER)
    for name in ("café exact", " CAFE\u0301 EXACT "):
        with pytest.raises(Conflict, match="Another preset has this name") as refused:
            await made(store, name)
        assert refused.value.param == "name"
        with pytest.raises(Conflict, match="Another preset has this name"):
            await store.presets.update(ME, second.id, PresetChanges(name=name, default=True))
    assert await store.presets.get(ME, second.id) == second
    assert (await store.holdings.of(ME)).presets == 2
    await store.presets.update(ME, first.id, PresetChanges(name="CAFÉ EXACT"))
    await store.presets.update(ME, first.id, PresetChanges(name="First"))
    await made(store, "café exact")


async def test_there_is_one_default(store: Store, second_store: Store) -> None:
    """A new one takes the place of the old one, whoever sets it at the same time; none is possible too."""
    presets = [await made(store, str(number)) for number in range(8)]
    others = await made(store, "theirs", OTHER)
    await store.presets.update(OTHER, others.id, PresetChanges(default=True))
    assert await defaults(store) == []
    stores = [store, second_store]
    await asyncio.gather(
        *(stores[i % 2].presets.update(ME, one.id, PresetChanges(default=True)) for i, one in enumerate(presets))
    )
    [name] = await defaults(store)
    rest = (await store.presets.page(ME, limit=9, default=False)).items
    assert {preset.name for preset in rest} == {str(number) for number in range(8)} - {name}
    await store.presets.update(ME, presets[3].id, PresetChanges(default=True))
    assert await defaults(store) == ["3"]
    await store.presets.update(ME, presets[3].id, PresetChanges(default=False))
    assert await defaults(store) == []
    await store.presets.update(ME, presets[4].id, PresetChanges(default=True))
    await store.presets.delete(ME, presets[4].id)
    assert await defaults(store) == []
    assert await defaults(store, OTHER) == ["theirs"]


async def test_lists_go_a_page_at_a_time(store: Store) -> None:
    """In order of creation."""
    ids = sorted([(await made(store, str(number))).id for number in range(5)])
    first = await store.presets.page(ME, limit=3)
    second = await store.presets.page(ME, limit=3, cursor=first.next_cursor)
    assert [preset.id for preset in [*first.items, *second.items]] == ids
    assert second.next_cursor is None


async def test_a_store_without_presets_gets_them(url: str) -> None:
    """Also for users whose other counts an earlier server wrote: exactly the quota fits."""
    store = store_from_url(url)
    await store.open()
    user = User(email=f"{secrets.token_hex(4)}@example.com")
    await store.users.create(user)
    await store.keys.create(ApiKey(user_id=user.id, name="k", prefix="p", hash=secrets.token_hex(4)))
    await store.close()
    if url.startswith("mongodb"):
        with mongo_client(url) as client:
            client.get_default_database().holdings.update_many({}, {"$unset": {"presets": ""}})
            client.get_default_database().presets.drop()
    set_back(url, WITHOUT)
    store = store_from_url(url, quota=Quota(presets=2))
    await store.open()
    try:
        outcomes = await asyncio.gather(
            *(made(store, str(number), user.id) for number in range(5)), return_exceptions=True
        )
        assert [type(one) for one in outcomes].count(RateLimited) == 3
        held = await store.holdings.of(user.id)
        assert (held.keys, held.presets) == (1, 2)
        assert len((await store.presets.page(user.id, limit=9)).items) == 2
    finally:
        await store.close()
