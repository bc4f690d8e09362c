"""The contract of the queue of background answers: bounded, each held by one, nothing stored by others."""

import asyncio
from datetime import timedelta

import msgspec
import pytest

from jan.errors import Conflict, NotFound, RateLimited, Unavailable
from jan.schema.stored_items import items_made_of
from jan.storage import Store
from jan.storage.queued_answers import NOT_HELD, QueuedAnswer, QueueLength, QueueRoom
from jan.storage.records import ConversationRecord, MessageRecord, TokenUsage, new_id, now
from jan.storage.text_search import Wanted

ROOM = QueueRoom(all_users=100, each_user=50)
ME, YOU = "user_1", "user_2"


async def put(store: Store, user_id: str = ME, holder: str = "") -> QueuedAnswer:
    """An answer in the queue, with its message in a conversation."""
    conversation = ConversationRecord(user_id=user_id)
    await store.conversations.create(conversation)
    message = MessageRecord(
        id=new_id("msg"),
        conversation_id=conversation.id,
        role="assistant",
        items=items_made_of(""),
        status="streaming",
    )
    queued = QueuedAnswer(
        id=message.id,
        user_id=user_id,
        conversation_id=conversation.id,
        api="openai.responses",
        request={"a.b": "$c", "tools": [{"n": 2**40}]},
        needs=("inference", "read"),
        holder=holder,
        held_until=now() + timedelta(minutes=1) if holder else NOT_HELD,
    )
    await store.queued_answers.add(queued, ROOM)
    await store.messages.append(user_id, message)
    return queued


async def message_of(store: Store, queued: QueuedAnswer) -> MessageRecord:
    return await store.messages.get(queued.user_id, queued.conversation_id, queued.id)


async def save(store: Store, queued: QueuedAnswer, holder: str, text: str) -> None:
    message = await message_of(store, queued)
    changed = msgspec.structs.replace(message, items=items_made_of(text), updated_at=now(), response={"x.y": 1})
    await store.queued_answers.save(holder, changed)


def soon(minutes: int = 1) -> timedelta:
    return timedelta(minutes=minutes)


async def test_an_answer_is_found_as_it_was_added(store: Store) -> None:
    queued = await put(store)
    assert await store.queued_answers.find(queued.id) == queued
    assert await store.queued_answers.find("msg_none") is None
    with pytest.raises(Conflict):
        await store.queued_answers.add(queued, ROOM)


async def test_the_queue_is_bounded_for_all_and_for_each(store: Store) -> None:
    for _ in range(2):
        await put(store)
    queued = QueuedAnswer(id="msg_0", user_id=ME, conversation_id="c", api="a", request={})
    with pytest.raises(RateLimited) as one:
        await store.queued_answers.add(queued, QueueRoom(all_users=9, each_user=2))
    assert one.value.code == "too_many_background_responses"
    with pytest.raises(Unavailable) as all_together:
        await store.queued_answers.add(queued, QueueRoom(all_users=2, each_user=9))
    assert all_together.value.code == "background_queue_full"
    assert await store.queued_answers.length() == QueueLength(2, 0)


async def test_the_oldest_is_claimed_first_and_each_once(store: Store, second_store: Store) -> None:
    """Several processes claim at the same time; each answer goes to one of them."""
    waiting = [await put(store) for _ in range(6)]
    at = now()
    claims = [
        one.queued_answers.claim(f"{number}", at + soon(), at)
        for number, one in enumerate((store, second_store) * 4)
    ]
    claimed = [answer for answer in await asyncio.gather(*claims) if answer is not None]
    assert sorted(answer.id for answer in claimed) == [queued.id for queued in waiting]
    assert len({answer.holder for answer in claimed}) == 6
    assert await store.queued_answers.length() == QueueLength(6, 6)


async def test_users_are_left_out_of_a_claim(store: Store) -> None:
    await put(store, ME)
    yours = await put(store, YOU)
    at = now()
    claimed = await store.queued_answers.claim("a", at + soon(), at, [ME])
    assert claimed is not None
    assert claimed.id == yours.id
    assert await store.queued_answers.claim("a", at + soon(), at, [ME]) is None


async def test_a_lease_is_extended_and_lapses(store: Store) -> None:
    queued = await put(store)
    at = now()
    await store.queued_answers.claim("a", at + soon(), at)
    assert await store.queued_answers.claim("b", at + soon(2), at) is None
    assert await store.queued_answers.extend("a", at + soon(3)) == [queued.id]
    assert await store.queued_answers.claim("b", at + soon(4), at + soon(2)) is None
    taken = await store.queued_answers.claim("b", at + soon(6), at + soon(3))
    assert taken is not None
    assert await store.queued_answers.extend("a", at + soon(9)) == []
    assert not await store.queued_answers.remove(queued.id, "a")
    assert await store.queued_answers.remove(queued.id, "b")


async def test_only_the_holder_stores(store: Store, second_store: Store) -> None:
    queued = await put(store, holder="a")
    await save(store, queued, "a", "one")
    seized = await second_store.queued_answers.seize(queued.id, "b", now() + soon())
    assert seized is not None
    with pytest.raises(Conflict):
        await save(store, queued, "a", "two")
    assert (await message_of(store, queued)).content == "one"
    await save(second_store, queued, "b", "three")
    message = await message_of(store, queued)
    assert (message.content, message.response) == ("three", {"x.y": 1})
    assert await second_store.queued_answers.remove(queued.id, "b")
    assert await store.queued_answers.seize(queued.id, "c", now() + soon()) is None


async def test_what_is_complete_or_deleted_is_not_stored(store: Store) -> None:
    first, second = await put(store, holder="a"), await put(store, holder="a")
    message = await message_of(store, first)
    await store.messages.empty(ME, first.conversation_id, [first.id])
    with pytest.raises(Conflict):
        await store.queued_answers.save("a", message)
    message = await message_of(store, second)
    await store.conversations.delete(ME, second.conversation_id)
    with pytest.raises(NotFound):
        await store.queued_answers.save("a", message)
    assert await store.queued_answers.find(second.id) is None


async def test_answers_of_the_queue_are_found_by_their_text(store: Store) -> None:
    """As soon as they are complete: what a search finds meanwhile may be gone again."""
    queued = await put(store, holder="a")
    await save(store, queued, "a", "half a plover")
    half = msgspec.structs.replace(await message_of(store, queued), items=items_made_of("a whole plover"))
    await store.queued_answers.save("a", msgspec.structs.replace(half, status="complete", updated_at=now()))
    for _ in range(2):
        [hit] = (await store.search.find(ME, Wanted("plover"))).hits
        assert hit.message_id == queued.id
        while await store.search.index_some():
            pass


async def test_what_is_let_go_is_claimed_again(store: Store) -> None:
    queued = await put(store, holder="a")
    charged = TokenUsage(prompt_tokens=3, completion_tokens=4)
    at = now()
    left = msgspec.structs.replace(queued, charged=charged)
    await store.queued_answers.release(msgspec.structs.replace(left, holder="b"))
    assert await store.queued_answers.claim("c", at + soon(), at) is None
    await store.queued_answers.release(left, at + soon())
    assert await store.queued_answers.length() == QueueLength(1, 0)
    assert await store.queued_answers.claim("c", at + soon(2), at) is None
    claimed = await store.queued_answers.claim("c", at + soon(2), at + soon())
    assert claimed is not None
    assert claimed.charged == charged


async def test_a_queued_answer_is_not_taken_for_interrupted(store: Store) -> None:
    """Nobody saved it for long, because it waits. Once it is out of the queue it is one like others."""
    queued = await put(store, holder="a")
    assert await store.messages.end_stale_streams(now() + soon()) == 0
    await store.queued_answers.remove(queued.id, "a")
    assert await store.messages.end_stale_streams(now() + soon()) == 1


async def test_an_answer_of_a_deleted_user_is_gone(store: Store) -> None:
    mine, yours = await put(store, ME), await put(store, YOU)
    while await store.deletions.erase(ME):
        pass
    assert await store.queued_answers.find(mine.id) is None
    assert await store.queued_answers.find(yours.id) == yours
