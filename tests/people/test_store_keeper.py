"""The store is kept whatever happens to it, and the first administrator's key is never lost."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from jan.conversations import Conversations, stored_answer
from jan.errors import ConfigurationError, JanError, Unavailable
from jan.idempotency.ids import IdSource
from jan.people import store_keeper
from jan.people.assembly import make_keyring, make_people
from jan.people.store_keeper import StoreKeeper
from jan.schema.messages import UserMessage
from jan.schema.stored_items import items_made_of
from jan.settings import Settings
from jan.storage import Store, store_from_url
from jan.storage.accounting import Demand
from jan.storage.idempotent_answers import IdempotentAnswer
from jan.storage.records import AnswerProgress, ConversationRecord, MessageRecord, User, milliseconds, now
from jan.storage.share_records import ShareRecord

Test = Callable[[Store, StoreKeeper, list[str]], Awaitable[None]]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_keeper, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(store_keeper, "_HOUSEKEEPING_SECONDS", 0.01)


def run(folder: Path, test: Test) -> None:
    """Run a test with a closed store, its keeper and the keys that were shown late."""

    async def inside() -> None:
        settings = Settings(data=str(folder))
        store, shown = store_from_url(settings.storage_url), list[str]()
        keyring = make_keyring(settings)
        keyring.load()
        people = make_people(settings.auth, store, keyring)
        keeper = StoreKeeper(store, people, create_admin=True, show_late_key=shown.append)
        try:
            await test(store, keeper, shown)
        finally:
            await keeper.close()

    asyncio.run(inside())


def failing(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, *errors: Exception) -> None:
    """The next calls of a method fail like this, then it works again."""
    waiting, works = list(errors), getattr(owner, name)

    async def call(*arguments: object) -> object:
        if waiting:
            raise waiting.pop(0)
        return await works(*arguments)

    monkeypatch.setattr(owner, name, call)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.01)


async def is_open(store: Store) -> bool:
    try:
        await store.ping()
    except Unavailable:
        return False
    return True


@pytest.mark.parametrize("error", [ConfigurationError("can't open"), JanError("?"), msgspec.DecodeError("broken")])
def test_no_failure_ends_the_attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A store that was away and is misconfigured for a while is opened as soon as it can be."""

    async def test(store: Store, keeper: StoreKeeper, shown: list[str]) -> None:
        failing(monkeypatch, store, "open", Unavailable("away"), error)
        await keeper.open()
        await eventually(lambda: is_open(store))

    run(tmp_path, test)


def test_no_failure_ends_the_housekeeping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that can't be read is no reason to leave later answers marked as streaming."""

    async def test(store: Store, keeper: StoreKeeper, shown: list[str]) -> None:
        await keeper.open()
        failing(monkeypatch, store.messages, "end_stale_streams", msgspec.ValidationError("broken"))
        monkeypatch.setattr(store_keeper, "ABANDONED_AFTER", timedelta(seconds=-60))
        conversation = ConversationRecord(user_id="user_1")
        await store.conversations.create(conversation)
        asked = MessageRecord(
            conversation_id=conversation.id, role="assistant", items=items_made_of(""), status="streaming"
        )
        await store.messages.append("user_1", asked)

        async def ended() -> bool:
            return (await store.messages.get("user_1", conversation.id, asked.id)).status == "partial"

        await eventually(ended)

    run(tmp_path, test)


def test_a_silent_answer_shows_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer to which nothing is added for long is saved all the same, again and again before the housekeeping
    takes its server for dead."""
    assert timedelta(seconds=2 * stored_answer.SIGN_OF_LIFE_SECONDS) <= store_keeper.ABANDONED_AFTER
    monkeypatch.setattr(stored_answer, "_SAVE_SECONDS", 0.01)
    monkeypatch.setattr(stored_answer, "SIGN_OF_LIFE_SECONDS", 0.02)

    async def test(store: Store, keeper: StoreKeeper, shown: list[str]) -> None:
        await keeper.open()
        conversations = Conversations(store)
        conversation = await conversations.create(ConversationRecord(user_id="user_1"), IdSource())
        turn = await conversations.open_turn(
            "user_1", conversation.id, [UserMessage(content="Well?")], ids=IdSource()
        )
        answer = turn.answer("model", lambda: AnswerProgress(items=items_made_of(""), status="streaming"))
        await answer.begin()
        saved = (await store.messages.get("user_1", conversation.id, answer.message.id)).updated_at

        async def saved_again() -> bool:
            found = await store.messages.get("user_1", conversation.id, answer.message.id)
            assert (found.status, found.content) == ("streaming", "")
            return found.updated_at > saved

        for _ in range(2):
            await eventually(saved_again)
            saved = (await store.messages.get("user_1", conversation.id, answer.message.id)).updated_at
        answer.leave()
        await conversations.close()

    run(tmp_path, test)


def test_housekeeping_forgets_counters_that_have_ended(tmp_path: Path) -> None:
    """A window that is over goes, one that runs stays."""

    async def test(store: Store, keeper: StoreKeeper, shown: list[str]) -> None:
        await keeper.open()
        at, demands = milliseconds(now()), [Demand(key=k, cost=1, limit=9, seconds=3600.0) for k in ("old", "new")]
        await store.counters.take(demands[1:], at)
        await store.counters.take(demands[:1], at - 7200_000)

        async def forgotten() -> bool:
            looks = [msgspec.structs.replace(demand, cost=0) for demand in demands]
            old = (await store.counters.take(looks[:1], at - 7200_000)).counters[0]
            new = (await store.counters.take(looks[1:], at)).counters[0]
            assert new.used == 1
            return old.used == 0

        await eventually(forgotten)

    run(tmp_path, test)


def test_answers_are_kept_for_a_day(tmp_path: Path) -> None:
    """An answer from 24 hours ago is forgotten, and a slightly newer one is not."""

    async def test(store: Store, keeper: StoreKeeper, shown: list[str]) -> None:
        await keeper.open()
        for name, age in (("old", timedelta(hours=24, seconds=1)), ("young", timedelta(hours=23, minutes=50))):
            at = now() - age
            await store.idempotent_answers.begin(answered(name, at, b"first"), abandoned_before=at)

        async def forgotten() -> bool:
            found = await store.idempotent_answers.begin(answered("old", now(), b"second"), abandoned_before=now())
            return found.answer == b"second"

        await eventually(forgotten)
        found = await store.idempotent_answers.begin(answered("young", now(), b"second"), abandoned_before=now())
        assert found.answer == b"first"

    run(tmp_path, test)


def answered(name: str, at: datetime, answer: bytes) -> IdempotentAnswer:
    return IdempotentAnswer(
        id=name, fingerprint="f", attempt=str(answer), begun_at=at, first_at=at, seed=b"s", answer=answer
    )


def test_links_that_have_ended_are_removed(tmp_path: Path) -> None:
    """Those that still open a conversation stay."""

    async def test(store: Store, keeper: StoreKeeper, shown: list[str]) -> None:
        await keeper.open()
        conversation = ConversationRecord(user_id="user_1")
        await store.conversations.create(conversation)
        for name, end in (("over", now()), ("live", now() + timedelta(hours=1))):
            share = ShareRecord(
                user_id="user_1", conversation_id=conversation.id, hash=name, title="", expires_at=end
            )
            await store.shares.create(share)

        async def removed() -> bool:
            return await store.shares.find_by_hash("over") is None

        await eventually(removed)
        assert await store.shares.find_by_hash("live") is not None

    run(tmp_path, test)


def test_a_key_made_late_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the store was away at the first start, the key is made and shown when it is there, once."""

    async def test(store: Store, keeper: StoreKeeper, shown: list[str]) -> None:
        failing(monkeypatch, store, "open", Unavailable("away"))
        failing(monkeypatch, store.sessions, "purge", Unavailable("away"))
        await keeper.open()
        assert keeper.admin_key is None
        await eventually(lambda: is_open(store))

        async def is_shown() -> bool:
            return shown != []

        await eventually(is_shown)
        await asyncio.sleep(0.2)
        assert shown == [keeper.admin_key]
        assert shown[0].startswith("jan_")

    run(tmp_path, test)


def test_an_outage_loses_no_first_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an outage while administrator and key are made there is one administrator, and the key is shown."""

    async def test(store: Store, keeper: StoreKeeper, shown: list[str]) -> None:
        failing(monkeypatch, store.keys, "create", Unavailable("away"))
        failing(monkeypatch, store.users, "create", Unavailable("away"))
        failing(monkeypatch, store.sessions, "purge", Unavailable("away"))
        await keeper.open()

        async def people() -> bool:
            return len((await store.users.page(limit=5)).items) == 1 and bool(shown)

        await eventually(people)
        (admin,) = (await store.users.page(limit=5)).items
        assert isinstance(admin, User)
        keys = (await store.keys.page(admin.id, limit=5)).items
        assert [key.prefix for key in keys] == [shown[0][:12]]

    run(tmp_path, test)


def test_a_deletion_that_was_cut_off_is_finished(tmp_path: Path) -> None:
    """Also what a request stored that had begun before. The record goes when no such request can be left."""

    async def test(store: Store, keeper: StoreKeeper, shown: list[str]) -> None:
        await store.open()
        old, new = (User(email=f"{name}@example.com") for name in ("old", "new"))
        for user, at in ((old, now() - timedelta(minutes=3)), (new, now())):
            await store.users.create(user)
            await store.conversations.create(ConversationRecord(user_id=user.id))
            await store.deletions.mark(user.id, at)
        await keeper.open()

        async def marked() -> list[str]:
            return [user.id for user in await store.deletions.marked(5)]

        async def erased() -> bool:
            return await store.archive.count(ConversationRecord) == 0

        await eventually(erased)
        assert await marked() == [new.id]
        assert {user.id for user in await store.archive.scan(User, after="", limit=5)}.isdisjoint([old.id])
        await store.conversations.create(ConversationRecord(user_id=new.id))
        await eventually(erased)
        assert await marked() == [new.id]

    run(tmp_path, test)
