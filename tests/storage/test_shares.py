"""The contract of shares: found by their hash, counted, gone with their end and with their conversation."""

import secrets
from datetime import datetime, timedelta

import msgspec
import pytest

from jan.errors import Conflict, InvalidRequest, NotFound, RateLimited
from jan.schema.limits import UNLIMITED, Quota
from jan.storage import Store, store_from_url
from jan.storage.records import ConversationRecord, User, now
from jan.storage.share_records import ShareRecord

ONE_HOUR = timedelta(hours=1)


async def new_conversation(store: Store, user_id: str = "") -> ConversationRecord:
    """A conversation of a new user, or of this one."""
    if not user_id:
        user = User(email=f"{secrets.token_hex(6)}@example.com")
        await store.users.create(user)
        user_id = user.id
    made = ConversationRecord(user_id=user_id, title="t")
    await store.conversations.create(made)
    return made


def share_of(conversation: ConversationRecord, share_hash: str, expires_at: datetime | None = None) -> ShareRecord:
    return ShareRecord(
        user_id=conversation.user_id,
        conversation_id=conversation.id,
        hash=share_hash,
        title=conversation.title,
        expires_at=expires_at or now() + ONE_HOUR,
    )


async def held(store: Store, user_id: str) -> int:
    return (await store.holdings.of(user_id)).shares


async def test_a_share_is_found_by_its_hash_and_listed(store: Store) -> None:
    """Of all conversations or of one, in order of creation, a page at a time; nobody else's."""
    first = await new_conversation(store)
    second, foreign = await new_conversation(store, first.user_id), await new_conversation(store)
    made = [share_of(first, "a"), share_of(second, "b"), share_of(first, "c")]
    made.sort(key=lambda share: share.id)  # of one millisecond
    for share in (*made, share_of(foreign, "d")):
        await store.shares.create(share)
    assert await store.shares.find_by_hash(made[1].hash) == made[1]
    assert await store.shares.find(made[2].id) == made[2]
    assert await store.shares.find_by_hash("x") is await store.shares.find("share_x") is None
    page = await store.shares.page(first.user_id, limit=2)
    assert page.items == made[:2]
    rest = await store.shares.page(first.user_id, limit=2, cursor=page.next_cursor)
    assert (rest.items, rest.next_cursor) == (made[2:], None)
    of_first = await store.shares.page(first.user_id, conversation_id=first.id, limit=9)
    assert of_first.items == [share for share in made if share.conversation_id == first.id]
    assert (await store.shares.page(first.user_id, conversation_id=foreign.id, limit=9)).items == []
    with pytest.raises(InvalidRequest):
        await store.shares.page(first.user_id, limit=9, cursor="?")
    for taken in (share_of(first, "a"), made[0]):
        with pytest.raises(Conflict):
            await store.shares.create(taken)
    assert (await held(store, first.user_id), await held(store, foreign.user_id)) == (3, 1)


async def test_only_the_owner_makes_and_removes(store: Store) -> None:
    """Another's conversation and another's share are not found; a removed share gives its place back, once."""
    mine, foreign = await new_conversation(store), await new_conversation(store)
    share = share_of(foreign, "a")
    await store.shares.create(share)
    stolen = ShareRecord(
        user_id=mine.user_id, conversation_id=foreign.id, hash="b", title="t", expires_at=now() + ONE_HOUR
    )
    with pytest.raises(NotFound):
        await store.shares.create(stolen)
    with pytest.raises(NotFound):
        await store.shares.remove(mine.user_id, share.id)
    assert await store.shares.find_by_hash("a") == share
    await store.shares.remove(foreign.user_id, share.id)
    with pytest.raises(NotFound):
        await store.shares.remove(foreign.user_id, share.id)
    assert await store.shares.find_by_hash("a") is None
    assert (await held(store, foreign.user_id), await held(store, mine.user_id)) == (0, 0)


async def test_shares_end_with_their_time_and_their_conversation(store: Store) -> None:
    """Their owner's counts go down with them."""
    one = await new_conversation(store)
    other = await new_conversation(store, one.user_id)
    at = now()
    for number in range(3):
        await store.shares.create(share_of(one, f"old {number}", at))
        await store.shares.create(share_of(other, f"new {number}"))
    assert await store.shares.purge(at) == 0
    assert await store.shares.purge(at + ONE_HOUR / 2) == 3
    assert await held(store, one.user_id) == 3
    await store.shares.blank_titles(one.id)
    kept = await store.shares.find_by_hash("new 1")
    assert kept is not None
    assert kept.title == other.title
    await store.shares.blank_titles(other.id)
    blanked = await store.shares.find_by_hash("new 1")
    assert blanked == msgspec.structs.replace(kept, title="")
    await store.conversations.delete(one.user_id, other.id)
    assert await store.shares.find_by_hash("new 1") is None
    assert await held(store, one.user_id) == 0


async def test_the_quota_of_shares(store: Store, url: str) -> None:
    """What exceeds it is refused and not stored; a removed one makes room."""
    limited = store_from_url(url, quota=Quota(**{**dict.fromkeys(UNLIMITED.__struct_fields__), "shares": 1}))
    await limited.open()
    try:
        conversation = await new_conversation(limited)
        first = share_of(conversation, "a")
        await limited.shares.create(first)
        with pytest.raises(RateLimited) as refused:
            await limited.shares.create(share_of(conversation, "b"))
        assert "links to shared conversations is 1" in refused.value.message
        assert "Revoke some" in refused.value.message
        assert await limited.shares.find_by_hash("b") is None
        await limited.shares.remove(conversation.user_id, first.id)
        await limited.shares.create(share_of(conversation, "b"))
    finally:
        await limited.close()
