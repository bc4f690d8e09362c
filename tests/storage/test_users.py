"""The contract of users, keys and sessions, on every backend."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec
import pytest

from jan.errors import Conflict, InvalidRequest, NotFound
from jan.schema.limits import KeyAccount, TokenBudget
from jan.storage import Store
from jan.storage.paging import every_item
from jan.storage.records import ApiKey, OidcSubject, User, UserChanges, now
from jan.storage.session_records import RefreshSession

HOUR = timedelta(hours=1)
SUBJECT = OidcSubject("https://accounts.example.com", "1234")


def key_of(user_id: str, **fields: object) -> ApiKey:
    given = {"name": "laptop", "prefix": "jan_ab", "hash": "00ff", **fields}
    return ApiKey(user_id=user_id, **given)  # type: ignore[arg-type]


def session_of(user_id: str = "user_1", **fields: object) -> RefreshSession:
    given = {"current_jti": "first", "expires_at": now() + HOUR, **fields}
    return RefreshSession(user_id=user_id, **given)  # type: ignore[arg-type]


async def test_a_user_comes_back_as_it_was_written(store: Store) -> None:
    """A user is found by id, by e-mail in any case and by subject, equal in every field and in UTC."""
    user = User(
        email=" Ada@Example.com", name="Ada \u0000 \U0001f600", role="admin", valid_after=now(), oidc=SUBJECT
    )
    await store.users.create(user)
    assert user.email == "ada@example.com"
    assert await store.users.get(user.id) == user
    assert await store.users.find_by_email("ADA@example.com ") == user
    assert await store.users.find_by_subject(SUBJECT) == user
    assert (await store.users.get(user.id)).created_at.tzinfo is UTC


async def test_unknown_users_are_not_found(store: Store) -> None:
    """``get`` and ``update`` of an unknown user raise NotFound; the finders return None."""
    assert await store.users.find_by_email("nobody@example.com") is None
    assert await store.users.find_by_subject(SUBJECT) is None
    with pytest.raises(NotFound):
        await store.users.get("user_unknown")
    with pytest.raises(NotFound):
        await store.users.update("user_unknown", UserChanges(name="x"))


async def test_an_address_is_taken_once(store: Store) -> None:
    """A second user of one e-mail address is a Conflict that names the field, even if both come at once."""
    users = [User(email=f"{name}@example.com") for name in ("a", "A", "a", "b")]
    outcomes = await asyncio.gather(*map(store.users.create, users), return_exceptions=True)
    conflicts = [error for error in outcomes if isinstance(error, Conflict)]
    assert [error.param for error in conflicts] == ["email", "email"]
    assert len((await store.users.page(limit=10)).items) == 2


async def test_a_subject_is_taken_once(store: Store) -> None:
    """Two users can't have one OpenID Connect subject; any number can have none."""
    await store.users.create(User(email="a@example.com", oidc=SUBJECT))
    with pytest.raises(Conflict) as caught:
        await store.users.create(User(email="b@example.com", oidc=SUBJECT))
    assert caught.value.param == "oidc"
    other = User(email="c@example.com")
    await store.users.create(other)
    await store.users.create(User(email="d@example.com"))
    with pytest.raises(Conflict):
        await store.users.update(other.id, UserChanges(oidc=SUBJECT))


async def test_an_update_sets_what_it_names(store: Store) -> None:
    """Fields that the changes leave out stay; None is a value."""
    user = User(email="a@example.com", name="A", valid_after=now())
    await store.users.create(user)
    changed = await store.users.update(user.id, UserChanges(disabled=True, role="admin", valid_after=None))
    assert (changed.disabled, changed.role, changed.valid_after, changed.name) == (True, "admin", None, "A")
    assert await store.users.get(user.id) == changed
    assert await store.users.update(user.id, UserChanges()) == changed
    moment = datetime(2026, 1, 2, 3, 4, 5, 678_999, tzinfo=UTC)
    assert (await store.users.update(user.id, UserChanges(valid_after=moment))).valid_after == moment.replace(
        microsecond=678_000
    )


async def test_users_are_listed_in_pages(store: Store) -> None:
    """Pages follow each other in order of creation, without a gap and without an empty one at the end."""
    users = [User(id=f"user_{i:02}", email=f"{i}@example.com") for i in range(6)]
    for user in users:
        await store.users.create(user)
    first = await store.users.page(limit=3)
    second = await store.users.page(limit=3, cursor=first.next_cursor)
    assert first.items + second.items == users
    assert second.next_cursor is None
    with pytest.raises(InvalidRequest):
        await store.users.page(limit=3, cursor="not a\ncursor")


MANY = 1201


async def test_no_list_of_users_stops_early(store: Store) -> None:
    """Of more users than any page has, each comes once, in order of creation."""
    users = [User(id=f"user_{number:04}", email=f"{number}@example.com") for number in range(MANY)]
    await store.archive.insert(User, users)
    assert [user.id for user in await every_item(store.users.page)] == [user.id for user in users]


async def test_no_list_of_keys_stops_early(store: Store) -> None:
    """Of more keys than any page has, each of the user's comes once, in order of creation."""
    keys = [key_of(f"user_{number % 2}", id=f"key_{number:04}", hash=str(number)) for number in range(2 * MANY)]
    await store.archive.insert(ApiKey, keys)
    mine = [key.id for key in keys if key.user_id == "user_1"]
    assert [key.id for key in await every_item(partial(store.keys.page, "user_1"))] == mine
    page = await store.keys.page("user_1", limit=3, cursor=mine[1000])
    assert [key.id for key in page.items] == mine[1001:1004]


async def test_a_key_comes_back_as_it_was_written(store: Store) -> None:
    """A key is found by hash and by id, and listed for its user only."""
    accounts = tuple(KeyAccount(id=name, budget=TokenBudget(tokens_per_day=2**53)) for name in ("key_1", "key_2"))
    key = key_of("user_1", permissions=("read", "keys"), expires_at=now() + HOUR, created_by="key_2")
    key = msgspec.structs.replace(key, charged_to=accounts)
    await store.keys.create(key)
    assert await store.keys.find_by_hash("00ff") == key
    assert await store.keys.find(key.id) == key
    assert (await store.keys.page("user_1", limit=5)).items == [key]
    assert (await store.keys.page("user_2", limit=5)).items == []
    assert await store.keys.find_by_hash("unknown") is None
    with pytest.raises(Conflict):
        await store.keys.create(key_of("user_2"))


async def test_a_key_is_changed_by_its_owner(store: Store) -> None:
    """Rename and revoke work for the owner, and are NotFound for another; a revocation keeps its time."""
    key, at = key_of("user_1"), now()
    await store.keys.create(key)
    assert (await store.keys.rename("user_1", key.id, "desk")).name == "desk"
    revoked = await store.keys.revoke("user_1", key.id, at)
    assert await store.keys.revoke("user_1", key.id, at + HOUR) == revoked
    assert revoked.revoked_at == at
    assert not revoked.is_live(at + HOUR)
    for attempt in (store.keys.rename("user_2", key.id, "x"), store.keys.revoke("user_2", key.id, at)):
        with pytest.raises(NotFound):
            await attempt


async def test_a_use_is_noted(store: Store) -> None:
    """``touch`` keeps the latest time; an unknown key is no error."""
    key, at = key_of("user_1"), now()
    await store.keys.create(key)
    await store.keys.touch(key.id, at)
    await store.keys.touch(key.id, at - HOUR)
    await store.keys.touch("key_unknown", at)
    found = await store.keys.find(key.id)
    assert found is not None
    assert found.last_used_at == at


async def test_a_rotated_key_has_a_grace(store: Store) -> None:
    """The replacement works at once, the old key until the grace ends; it can't be rotated twice."""
    old, ends = key_of("user_1"), now() + HOUR
    new = key_of("user_1", hash="11ff")
    await store.keys.create(old)
    assert await store.keys.rotate("user_1", old.id, new, ends) == new
    found = await store.keys.find(old.id)
    assert found is not None
    assert (found.replaced_by, found.expires_at) == (new.id, ends)
    assert found.is_live(ends - HOUR)
    assert not found.is_live(ends)
    with pytest.raises(Conflict):
        await store.keys.rotate("user_1", old.id, key_of("user_1", hash="22ff"), ends)
    with pytest.raises(NotFound):
        await store.keys.rotate("user_2", new.id, key_of("user_2", hash="22ff"), ends)
    assert await store.keys.find_by_hash("22ff") is None


async def test_of_two_rotations_of_a_key_one_wins(store: Store) -> None:
    """Rotating one key from two places at once leaves one replacement."""
    old = key_of("user_1")
    await store.keys.create(old)
    new = [key_of("user_1", hash=f"{i}{i}") for i in range(4)]
    rotations = [store.keys.rotate("user_1", old.id, key, now() + HOUR) for key in new]
    outcomes = await asyncio.gather(*rotations, return_exceptions=True)
    assert sum(isinstance(outcome, ApiKey) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 3
    assert len((await store.keys.page("user_1", limit=10)).items) == 2


async def test_a_refresh_token_is_replaced(store: Store) -> None:
    """Presenting the current token makes the next one current and moves the session's end."""
    session, at = session_of(), now()
    await store.sessions.start(session)
    rotation = await store.sessions.rotate(session.id, "first", "second", at=at, expires_at=at + 2 * HOUR)
    assert rotation.outcome == "rotated"
    assert rotation.session == await store.sessions.find(session.id)
    assert rotation.session is not None
    assert (rotation.session.current_jti, rotation.session.expires_at) == ("second", at + 2 * HOUR)


async def test_a_reused_refresh_token_ends_the_session(store: Store) -> None:
    """A token that was replaced ends the whole family: the newest token is refused from then on."""
    session, at = session_of(), now()
    await store.sessions.start(session)
    end = at + HOUR
    await store.sessions.rotate(session.id, "first", "second", at=at, expires_at=end)
    reuse = await store.sessions.rotate(session.id, "first", "third", at=at, expires_at=end)
    after = await store.sessions.rotate(session.id, "second", "third", at=at, expires_at=end)
    assert (reuse.outcome, after.outcome) == ("reused", "ended")
    assert reuse.session == after.session
    assert after.session is not None
    assert (after.session.ended_at, after.session.reason) == (at, "reused")


async def test_a_refresh_token_is_used_once_even_at_once(store: Store) -> None:
    """Of eight requests with one token, one rotates it and the others learn of the reuse or the end."""
    session, at = session_of(), now()
    await store.sessions.start(session)
    rotations = [
        store.sessions.rotate(session.id, "first", f"next-{i}", at=at, expires_at=at + HOUR) for i in range(8)
    ]
    outcomes = [rotation.outcome for rotation in await asyncio.gather(*rotations)]
    assert outcomes.count("rotated") == 1
    assert set(outcomes) <= {"rotated", "reused", "ended"}
    found = await store.sessions.find(session.id)
    assert found is not None
    assert found.reason == "reused"


async def test_sessions_that_are_over_do_not_rotate(store: Store) -> None:
    """Unknown, expired and ended sessions say so."""
    at = now()
    expired, ended = session_of(expires_at=at), session_of()
    await store.sessions.start(expired)
    await store.sessions.start(ended)
    await store.sessions.end(ended.id, at=at, reason="logout")
    await store.sessions.end(ended.id, at=at + HOUR, reason="again")
    outcomes = [
        await store.sessions.rotate(session_id, "first", "second", at=at, expires_at=at + HOUR)
        for session_id in ("sess_unknown", expired.id, ended.id)
    ]
    assert [rotation.outcome for rotation in outcomes] == ["unknown", "expired", "ended"]
    assert outcomes[2].session is not None
    assert outcomes[2].session.reason == "logout"
    with pytest.raises(Conflict):
        await store.sessions.start(expired)


async def test_a_users_sessions_end_together(store: Store) -> None:
    """``end_all`` ends the user's open sessions and counts them; ``purge`` forgets what has expired."""
    at = now()
    mine = [session_of(), session_of(expires_at=at - HOUR)]
    for session in (*mine, session_of("user_2")):
        await store.sessions.start(session)
    assert await store.sessions.end_all("user_1", at=at, reason="disabled") == 2
    assert await store.sessions.end_all("user_1", at=at, reason="disabled") == 0
    assert await store.sessions.purge(at) == 1
    assert await store.sessions.find(mine[1].id) is None
    found = await store.sessions.find(mine[0].id)
    assert found is not None
    assert found.reason == "disabled"


async def test_open_sessions_are_listed(store: Store) -> None:
    """A user's sessions that were not ended, in order, a page at a time; what was noted of them is kept."""
    at = now()
    mine = [session_of(id=f"sess_{i}", device=f"Firefox {i}", kind="cookie", key_id="key_1") for i in range(3)]
    for session in (*mine, session_of("user_2")):
        await store.sessions.start(session)
    await store.sessions.end(mine[1].id, at=at, reason="logout")
    await store.sessions.touch(mine[2].id, at + HOUR)
    await store.sessions.touch(mine[2].id, at - HOUR)
    await store.sessions.touch("sess_unknown", at)
    first = await store.sessions.page("user_1", limit=1)
    rest = await store.sessions.page("user_1", limit=5, cursor=first.next_cursor)
    assert [first.items, rest.items] == [[mine[0]], [msgspec.structs.replace(mine[2], last_used_at=at + HOUR)]]
    assert rest.next_cursor is None
