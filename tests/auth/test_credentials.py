"""Who a credential belongs to: what is remembered of it, for how long, and what is never outlived."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from jan.auth import credentials as module
from jan.auth.api_keys import hash_of
from jan.auth.keyring import Keyring
from jan.errors import AuthenticationFailed, Unavailable
from jan.people.assembly import People, make_people
from jan.schema.scopes import Identity
from jan.settings import AuthSettings
from jan.storage import Store, store_from_url
from jan.storage.records import User, now
from jan.storage.session_records import RefreshSession

Test = Callable[[Store, People, User], Awaitable[None]]


def run(folder: Path, test: Test, *, grace: timedelta = timedelta(hours=1)) -> None:
    """Run a test with an open store, the services over it and a user."""

    async def inside() -> None:
        settings = AuthSettings(refresh_grace_seconds=grace.total_seconds(), leeway_seconds=0)
        keyring = Keyring(folder / "keys", settings.algorithm)
        keyring.load()
        store = store_from_url(f"sqlite:///{folder / 'jan.db'}", timeout=5)
        await store.open()
        try:
            user = User(email="ada@example.com")
            await store.users.create(user)
            await test(store, make_people(settings, store, keyring), user)
        finally:
            await store.close()

    asyncio.run(inside())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass for what is remembered."""
    passed = 0.0

    def let_pass(seconds: float) -> None:
        nonlocal passed
        passed += seconds

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return time.monotonic() + passed

    monkeypatch.setattr(module, "time", Clock)
    return let_pass


def test_the_data_folder_is_private(tmp_path: Path) -> None:
    """The signing keys come first at a first start: what they make on the way down is their owner's alone."""
    old = os.umask(0o022)
    try:
        Keyring(tmp_path / "var" / "data" / "signing-keys", "HS256").load()
    finally:
        os.umask(old)
    for folder in ("var", "var/data", "var/data/signing-keys"):
        assert (tmp_path / folder).stat().st_mode & 0o777 == 0o700


def test_a_revocation_meets_a_look_up_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An identity read before a revocation is not cached after it."""

    async def test(store: Store, people: People, user: User) -> None:
        key = await people.keys.create(user.id, "key", ("read",))
        has_read, may_go_on = asyncio.Event(), asyncio.Event()
        look_up = store.keys.find_by_hash

        async def slow(key_hash: str) -> object:
            found = await look_up(key_hash)
            has_read.set()
            await may_go_on.wait()
            return found

        monkeypatch.setattr(store.keys, "find_by_hash", slow)
        under_way = asyncio.create_task(people.credentials.identify(key.secret))
        await has_read.wait()
        await people.keys.revoke(user.id, key.record.id)
        may_go_on.set()
        await under_way
        with pytest.raises(AuthenticationFailed):
            await people.credentials.identify(key.secret)

    run(tmp_path, test)


def test_a_key_does_not_outlive_its_end_in_an_outage(tmp_path: Path, clock: Callable[[float], None]) -> None:
    """While the store is away a key that was known goes on, until it expires."""

    async def test(store: Store, people: People, user: User) -> None:
        lasting = (await people.keys.create(user.id, "lasting", ("inference",))).secret
        soon = now() + timedelta(seconds=0.4)
        short = (await people.keys.create(user.id, "short", ("inference",), soon)).secret
        assert isinstance(await people.credentials.identify(lasting), Identity)
        assert (await people.credentials.identify(short)).expires_at == soon
        await store.close()
        await asyncio.sleep(0.5)
        clock(5)
        assert (await people.credentials.identify(lasting)).user_id == user.id
        with pytest.raises(Unavailable):
            await people.credentials.identify(short)
        clock(600)
        with pytest.raises(Unavailable):
            await people.credentials.identify(lasting)

    run(tmp_path, test)


def test_a_store_that_takes_no_writes_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That a key's use can't be noted (a full disk) is no reason to refuse the key."""

    async def test(store: Store, people: People, user: User) -> None:
        secret = (await people.keys.create(user.id, "key", ("inference",))).secret

        async def full(*_: object) -> None:
            raise Unavailable("the disk is full")

        monkeypatch.setattr(store.keys, "touch", full)
        assert (await people.credentials.identify(secret)).user_id == user.id

    run(tmp_path, test)


@pytest.mark.parametrize("seconds", [0, 30, 60])
def test_a_token_for_exchange_opens_nothing(tmp_path: Path, seconds: float) -> None:
    """However short the grace is, the token that a page got in its URL is only good for its exchange."""

    async def test(store: Store, people: People, user: User) -> None:
        issued = await people.sessions.sign_in(user, use="exchange")
        with pytest.raises(AuthenticationFailed):
            await people.credentials.identify(issued.token)
        exchanged = await people.sessions.refresh(issued.token)
        assert (await people.credentials.identify(exchanged.token)).user_id == user.id

    run(tmp_path, test, grace=timedelta(seconds=seconds))


def test_an_outage_is_waited_for_once(
    tmp_path: Path, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the store is away only one request a second finds that out; the others are answered by what is
    known, or refused, without asking. Once it is back everybody is looked up again."""

    async def test(store: Store, people: People, user: User) -> None:
        asked = 0
        secret = (await people.keys.create(user.id, "key", ("inference",))).secret
        await people.credentials.identify(secret)
        look_up = store.keys.find_by_hash

        async def away(_key_hash: str) -> None:
            nonlocal asked
            asked += 1
            raise Unavailable("away")

        monkeypatch.setattr(store.keys, "find_by_hash", away)
        clock(2)
        for _ in range(5):
            assert (await people.credentials.identify(secret)).user_id == user.id
            with pytest.raises(Unavailable):
                await people.credentials.identify("jan_unknown")
        assert asked == 1
        clock(2)
        await people.credentials.identify(secret)
        assert asked == 2
        monkeypatch.setattr(store.keys, "find_by_hash", look_up)
        clock(2)
        with pytest.raises(AuthenticationFailed):
            await people.credentials.identify("jan_unknown")

    run(tmp_path, test)


def test_a_cookies_session_ends_when_nobody_uses_it(tmp_path: Path) -> None:
    """After the time for which a token could be refreshed. Its use is noted, once a minute."""
    hour, idle = timedelta(hours=1), timedelta(hours=2)  # a token's hour, and an hour's grace

    async def use(store: Store, people: People, user: User) -> None:
        at = now()
        sessions = [
            RefreshSession(
                id=name,
                user_id=user.id,
                current_jti=name,
                last_used_at=at - unused,
                expires_at=at + 24 * hour,
                kind="cookie",
            )
            for name, unused in (("fresh", hour / 120), ("used", idle - hour / 60), ("unused", idle + hour / 60))
        ]
        tokens = {}
        for session in sessions:
            await store.sessions.start(session)
            tokens[session.id] = people.sessions.issue(user, session, use="cookie").token
        assert [found.id for found in (await people.browsers.page(user.id, limit=9)).items] == ["fresh", "used"]
        for name in ("fresh", "used"):
            assert (await people.credentials.identify(tokens[name], in_cookie=True)).session_id == name
        with pytest.raises(AuthenticationFailed, match="not used for too long"):
            await people.credentials.identify(tokens["unused"], in_cookie=True)
        noted = [found.last_used_at >= at for name in tokens if (found := await store.sessions.find(name))]
        assert noted == [False, True, False]

    run(tmp_path, use)


def test_a_link_works_once_and_for_minutes(tmp_path: Path) -> None:
    """Of many who send its code at once, one is signed in. Its code is not in the store. One that is old, that is
    dropped, or whose user is disabled, signs nobody in."""

    async def use(store: Store, people: People, user: User) -> None:
        code = await people.browsers.make_link(user)
        outcomes = await asyncio.gather(
            *(people.browsers.redeem(code, "") for _ in range(8)), return_exceptions=True
        )
        assert sum(isinstance(outcome, AuthenticationFailed) for outcome in outcomes) == 7
        [issued] = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
        assert (await people.credentials.identify(issued.token, in_cookie=True)).user_id == user.id
        assert code not in repr(await store.archive.scan(RefreshSession, after="", limit=9))
        dropped, void = [await people.browsers.make_link(user) for _ in range(2)]
        links = [one for one in (await store.sessions.page(user.id, limit=9)).items if one.kind == "link"]
        assert [one.expires_at - one.created_at for one in links] == [timedelta(minutes=10)] * 2
        await people.browsers.drop_link(dropped)
        await store.sessions.end_all(user.id, at=now(), reason="signed out everywhere")
        old = RefreshSession(
            id=f"link_{hash_of('old')[:32]}",
            user_id=user.id,
            current_jti=hash_of("old"),
            expires_at=now(),
            kind="link",
        )
        await store.sessions.start(old)
        for spent in (dropped, void, "old", code, "", "x" * 43):
            with pytest.raises(AuthenticationFailed, match="The link was used before"):
                await people.browsers.redeem(spent, "")

    run(tmp_path, use)
