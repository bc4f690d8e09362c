"""The contract of what users store: counted exactly, refused beyond the quota, given back by deletion."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator

import msgspec
import pytest
from support.earlier_store import change, set_back
from support.mongodb import mongo_client

from jan.errors import Conflict, RateLimited
from jan.schema.limits import UNLIMITED, Quota
from jan.schema.stored_items import items_made_of
from jan.storage import Store, store_from_url
from jan.storage.holdings import Amounts
from jan.storage.records import AnswerProgress, ApiKey, ConversationRecord, MessageRecord, Role, User, now

# The schema version before stores counted.
UNCOUNTED = 7
OpenStore = Callable[..., Awaitable[Store]]
_replace = msgspec.structs.replace


@pytest.fixture
def open_store(runner: asyncio.Runner, url: str) -> Iterator[OpenStore]:
    """Opens a store with a quota, as often as asked, and closes all after the test."""
    stores: list[Store] = []

    async def open_store(quota: Quota = UNLIMITED) -> Store:
        stores.append(store_from_url(url, quota=quota))
        await stores[-1].open()
        return stores[-1]

    yield open_store
    for store in stores:
        runner.run(store.close())


def quota(**limits: int) -> Quota:
    return _replace(UNLIMITED, **limits)


async def new_user(store: Store, role: Role = "user") -> str:
    user = User(email=f"{secrets.token_hex(6)}@example.com", role=role)
    await store.users.create(user)
    return user.id


async def new_conversation(store: Store, user_id: str) -> ConversationRecord:
    made = ConversationRecord(user_id=user_id)
    await store.conversations.create(made)
    return made


def message_in(conversation: ConversationRecord, content: str = "hello", **fields: str | None) -> MessageRecord:
    items = items_made_of(content)
    return _replace(MessageRecord(conversation_id=conversation.id, items=items, role="user"), **fields)


def key_of(user_id: str, name: str = "a") -> ApiKey:
    return ApiKey(user_id=user_id, name=name, prefix="jan_", hash=f"{user_id} {name}")


def counts(held: Amounts) -> tuple[int, int, int]:
    return held.keys, held.conversations, held.messages


async def test_everything_is_counted_and_deletion_gives_it_back(store: Store) -> None:
    """A message's bytes are those of its JSON; what one user stores is not counted for another."""
    me, other = await new_user(store), await new_user(store)
    conversation = await new_conversation(store, me)
    first = await store.messages.append(me, message_in(conversation, "häh" * 1000))
    assert 4000 < (await store.holdings.of(me)).bytes < 5000
    more = [message_in(conversation, parent_id=first.id), message_in(conversation, "x" * 5000)]
    await store.messages.append_all(me, more)
    held = await store.holdings.of(me)
    assert counts(held) == (0, 1, 3)
    assert 9000 < held.bytes < 11_000
    assert (await store.conversations.get(me, conversation.id)).message_bytes == held.bytes
    assert await store.holdings.of(other) == Amounts()
    await new_conversation(store, me)
    await store.conversations.delete(me, conversation.id)
    assert await store.holdings.of(me) == Amounts(conversations=1)


async def test_an_answer_grows_and_is_never_cut(open_store: OpenStore) -> None:
    """An answer that was begun within the quota is stored whole; the next message is refused."""
    store = await open_store(quota(bytes=2000))
    me = await new_user(store)
    conversation = await new_conversation(store, me)
    answer = _replace(message_in(conversation, ""), role="assistant", status="streaming")
    await store.messages.append_all(me, [answer])
    before = await store.holdings.of(me)
    for size, status in ((1000, "streaming"), (5000, "complete"), (5000, "complete")):
        progress = AnswerProgress(items=items_made_of("x" * size), status=status)
        await store.messages.save(me, conversation.id, answer.id, progress)
    held = await store.holdings.of(me)
    assert 4990 < held.bytes - before.bytes < 5010
    assert (await store.conversations.get(me, conversation.id)).message_bytes == held.bytes
    with pytest.raises(RateLimited) as refused:
        await store.messages.append(me, message_in(conversation))
    assert "bytes of messages is 2000" in refused.value.message
    await store.conversations.delete(me, conversation.id)
    assert await store.holdings.of(me) == Amounts()


async def test_what_is_sent_again_is_counted_once(open_store: OpenStore) -> None:
    """Repeating a request at the quota gets what it got before, and not a refusal."""
    store = await open_store(quota(keys=1, conversations=1, messages=1))
    me = await new_user(store)
    conversation = await new_conversation(store, me)
    with pytest.raises(Conflict):
        await store.conversations.create(conversation)
    message = message_in(conversation)
    stored = await store.messages.append(me, message, at_head=True)
    assert await store.messages.append(me, message, at_head=True) == stored
    key = key_of(me)
    await store.keys.create(key)
    with pytest.raises(Conflict):
        await store.keys.create(key)
    assert counts(await store.holdings.of(me)) == (1, 1, 1)


async def test_keys_in_use_are_counted(open_store: OpenStore) -> None:
    """A revoked key makes room. A rotated one passes its place on to its successor."""
    store = await open_store(quota(keys=2))
    me = await new_user(store)
    first, second = key_of(me, "a"), key_of(me, "b")
    await store.keys.create(first)
    await store.keys.create(second)
    with pytest.raises(RateLimited) as refused:
        await store.keys.create(key_of(me, "c"))
    assert refused.value.code == "quota_exceeded"
    assert "API keys is 2" in refused.value.message
    replacement = key_of(me, "d")
    await store.keys.rotate(me, first.id, replacement, now())
    assert (await store.holdings.of(me)).keys == 2
    await store.keys.revoke(me, first.id, now())
    assert (await store.holdings.of(me)).keys == 2
    for _ in range(2):
        await store.keys.revoke(me, second.id, now())
    assert (await store.holdings.of(me)).keys == 1
    await store.keys.create(key_of(me, "e"))


async def test_a_refused_addition_adds_nothing(open_store: OpenStore) -> None:
    """All messages of a call are stored or none, and a conversation counts with the messages that it brings."""
    store = await open_store(quota(messages=2, conversations=2))
    me = await new_user(store)
    conversation = await new_conversation(store, me)
    with pytest.raises(RateLimited):
        await store.messages.append_all(me, [message_in(conversation) for _ in range(3)])
    assert await store.messages.history(me, conversation.id) == []
    with pytest.raises(RateLimited):
        await store.conversations.create(ConversationRecord(user_id=me, message_count=3))
    assert len((await store.conversations.page(me, limit=9)).items) == 1
    assert await store.holdings.of(me) == Amounts(conversations=1)


async def test_administrators_have_no_quota(open_store: OpenStore) -> None:
    """What they store is counted all the same, for the time when they are none any more."""
    store = await open_store(quota(conversations=0))
    boss = await new_user(store, "admin")
    await new_conversation(store, boss)
    await new_conversation(store, boss)
    assert (await store.holdings.of(boss)).conversations == 2
    with pytest.raises(RateLimited):
        await new_conversation(store, await new_user(store))


async def test_two_processes_together_store_exactly_the_quota(open_store: OpenStore) -> None:
    """Of parallel requests through two connections exactly as many pass as there is room for."""
    stores = [await open_store(quota(conversations=7, messages=12)) for _ in range(2)]
    me = await new_user(stores[0])
    made = await asyncio.gather(
        *(new_conversation(stores[number % 2], me) for number in range(14)), return_exceptions=True
    )
    conversations = [one for one in made if isinstance(one, ConversationRecord)]
    assert (len(conversations), {type(one) for one in made}) == (7, {ConversationRecord, RateLimited})
    appended = await asyncio.gather(
        *(
            stores[number % 2].messages.append(me, message_in(conversations[number % 7]), at_head=True)
            for number in range(28)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(one, MessageRecord) for one in appended) == 12
    assert counts(await stores[0].holdings.of(me)) == (0, 7, 12)
    await asyncio.gather(
        *(stores[number % 2].conversations.delete(me, conversations[number // 2].id) for number in range(14)),
        return_exceptions=True,
    )
    assert await stores[1].holdings.of(me) == Amounts()


async def test_counts_can_be_replaced_and_dropped(store: Store) -> None:
    """After an import of the whole store, and after the deletion of a user."""
    await store.holdings.set("user_1", Amounts(keys=1, bytes=5))
    await store.holdings.set("user_1", Amounts(keys=2))
    assert await store.holdings.of("user_1") == Amounts(keys=2)
    await store.holdings.forget("user_1")
    assert await store.holdings.of("user_1") == Amounts()


async def test_an_older_store_is_counted_when_it_is_opened(open_store: OpenStore, url: str) -> None:
    """The migration counts what is there, and the bytes of each conversation's messages."""
    old = await open_store()
    me = await new_user(old)
    conversation = await new_conversation(old, me)
    await old.messages.append_all(me, [message_in(conversation, "häh" * 100) for _ in range(3)])
    keys = [key_of(me, name) for name in "ab"]
    for key in keys:
        await old.keys.create(key)
    await old.keys.revoke(me, keys[0].id, now())
    held = await old.holdings.of(me)
    assert counts(held) == (1, 1, 3)
    await old.close()
    forget_counts(url)
    new = await open_store()
    assert await new.holdings.of(me) == held
    assert (await new.conversations.get(me, conversation.id)).message_bytes == held.bytes


def forget_counts(url: str) -> None:
    """Write a store as the version before it counted would have."""
    change(url, "conversations", lambda found: {name: v for name, v in found.items() if name != "message_bytes"})
    if url.startswith("mongodb"):
        with mongo_client(url) as client:
            client.get_default_database().holdings.delete_many({})
    set_back(url, UNCOUNTED)
