"""The contract of the deletion of users: marked, emptied, removed; others keep all of theirs."""

from datetime import UTC, datetime, timedelta

import pytest

from jan.errors import NotFound
from jan.schema.stored_items import items_made_of
from jan.storage import Store
from jan.storage.accounting import UsageRecord
from jan.storage.deletions import AT_ONCE
from jan.storage.holdings import Amounts
from jan.storage.idempotent_answers import IdempotentAnswer
from jan.storage.preset_records import PresetRecord
from jan.storage.records import (
    ApiKey,
    ConversationRecord,
    MessageRecord,
    OidcSubject,
    Record,
    User,
    UserChanges,
    now,
)
from jan.storage.session_records import RefreshSession
from jan.storage.share_records import ShareRecord

KINDS: tuple[type[Record], ...] = (
    ApiKey,
    RefreshSession,
    ConversationRecord,
    MessageRecord,
    PresetRecord,
    UsageRecord,
    ShareRecord,
)
AT = datetime(2026, 1, 1, tzinfo=UTC)


async def somebody(store: Store, name: str, conversations: int = 1) -> User:
    """A user with something of everything."""
    user = User(email=f"{name}@example.com", name=name, oidc=OidcSubject("i", name))
    await store.users.create(user)
    for number in range(conversations):
        made = ConversationRecord(user_id=user.id, title=f"{name} {number}")
        await store.conversations.create(made)
        message = MessageRecord(conversation_id=made.id, role="user", items=items_made_of(f"{name} {number}"))
        await store.messages.append(user.id, message)
        end = now() + timedelta(hours=1)
        share = ShareRecord(
            user_id=user.id, conversation_id=made.id, hash=f"{name} {number}", title=name, expires_at=end
        )
        await store.shares.create(share)
    await store.keys.create(ApiKey(user_id=user.id, name=name, prefix="p", hash=name))
    await store.presets.create(PresetRecord(user_id=user.id, name=name))
    session = RefreshSession(user_id=user.id, current_jti="a", expires_at=now() + timedelta(hours=1))
    await store.sessions.start(session)
    await store.sessions.end(session.id, at=now(), reason="x")
    await store.usage.add(UsageRecord(user_id=user.id, model="m", day=AT.date(), requests=1))
    await store.idempotent_answers.begin(answer_of(name, user.id), abandoned_before=AT)
    return user


def answer_of(name: str, user_id: str, attempt: str = "a") -> IdempotentAnswer:
    return IdempotentAnswer(
        id=name, fingerprint="f", attempt=attempt, begun_at=AT, first_at=AT, seed=b"s", user_id=user_id
    )


async def erase(store: Store, user: User) -> int:
    """Erase to the end; returns the number of calls."""
    calls = 1
    while await store.deletions.erase(user.id):
        calls += 1
    return calls


async def test_a_marked_user_is_found_by_nobody(store: Store) -> None:
    """Neither by id, address and subject, nor in the list, nor to be changed; and the address is free again."""
    gone, stays = await somebody(store, "gone"), await somebody(store, "stays")
    await store.deletions.mark(gone.id, AT)
    for call in (
        store.users.get(gone.id),
        store.users.update(gone.id, UserChanges(disabled=False)),
        store.deletions.mark(gone.id, AT),
    ):
        with pytest.raises(NotFound):
            await call
    assert await store.users.find_by_email(gone.email) is None
    assert await store.users.find_by_subject(OidcSubject("i", "gone")) is None
    assert (await store.users.page(limit=5)).items == [stays]
    await store.users.create(User(email=gone.email, oidc=gone.oidc))


async def test_a_mark_has_nothing_of_the_person(store: Store) -> None:
    """Marks are found in their order until they are removed. What is no mark is never removed."""
    first, second = await somebody(store, "first"), await somebody(store, "second")
    await store.deletions.mark(second.id, AT)
    await store.deletions.mark(first.id, AT + timedelta(seconds=1))
    [mark, other] = await store.deletions.marked(5)
    assert (mark.id, mark.deleted_at, mark.disabled, mark.role) == (second.id, AT, True, "user")
    assert (mark.email, mark.name, mark.oidc) == (f"{second.id}@deleted.invalid", "", None)
    assert [other.id] == [first.id]
    assert await store.deletions.marked(1) == [mark]
    stays = await somebody(store, "stays")
    for user in (first, second, stays):
        await store.deletions.remove(user.id)
    assert await store.deletions.marked(5) == []
    assert [user.id for user in await store.archive.matching(User, [first.id, stays.id])] == [stays.id]


async def test_what_belongs_to_a_user_is_erased(store: Store) -> None:
    """Whatever it is, with any number of conversations; others keep all of theirs. Again: nothing happens."""
    gone, stays = await somebody(store, "gone", AT_ONCE + 1), await somebody(store, "stays")
    before = await store.holdings.of(stays.id)
    await store.deletions.mark(gone.id, AT)
    assert await erase(store, gone) == 3
    assert await erase(store, gone) == 1
    for kind in KINDS:
        assert await store.archive.count(kind) == 1, kind
    assert await store.holdings.of(gone.id) == Amounts()
    assert await store.holdings.of(stays.id) == before
    forgotten = answer_of("gone", gone.id, "b")
    assert await store.idempotent_answers.begin(forgotten, abandoned_before=AT) == forgotten
    kept = answer_of("stays", stays.id, "b")
    assert (await store.idempotent_answers.begin(kept, abandoned_before=AT)).attempt == "a"
