"""Work that runs for many credentials at once: who is asked about, and who is ended."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from jan.auth.running import Permit, RunningWork
from jan.errors import AuthenticationFailed, JanError
from jan.schema.scopes import Identity
from jan.storage import Store, store_from_url
from jan.storage.records import ApiKey, User, now

# More than one question to the store asks for.
MANY = 1100


class Work:
    """Work that notes the error that it is ended with."""

    def __init__(self) -> None:
        self.error: JanError | None = None
        self.over = asyncio.Event()

    def end(self, error: JanError) -> None:
        self.error = error
        self.over.set()


def run(folder: Path, test: Callable[[Store], Awaitable[None]]) -> None:
    """Run a test with an open store."""

    async def inside() -> None:
        store = store_from_url(f"sqlite:///{folder / 'jan.db'}", timeout=5)
        await store.open()
        try:
            await test(store)
        finally:
            await store.close()

    asyncio.run(asyncio.wait_for(inside(), 60))


def test_one_of_many(tmp_path: Path) -> None:
    """Of the work of very many credentials that of the revoked one ends, and remembered callers are forgotten; an
    anonymous caller has no credential to end."""

    async def test(store: Store) -> None:
        users = [User(email=f"{number}@example.com") for number in range(MANY)]
        keys = [ApiKey(user_id=user.id, name="k", prefix="jan_", hash=user.id) for user in users]
        await store.archive.insert(User, users)
        await store.archive.insert(ApiKey, keys)
        forgotten: list[bool] = []
        running = RunningWork(store, lambda: forgotten.append(True))
        works = [Work() for _ in keys]
        for work, key in zip(works, keys, strict=True):
            running.add(work, Permit(Identity(owner=key.user_id, user_id=key.user_id, key_id=key.id)))
        anonymous = Work()
        running.add(anonymous, Permit(Identity(owner="ip:127.0.0.1")))
        running.look_now()
        await store.keys.revoke(keys[-1].user_id, keys[-1].id, now())
        await works[-1].over.wait()
        assert isinstance(works[-1].error, AuthenticationFailed)
        assert works[-1].error.code == "invalid_api_key"
        assert [work for work in [*works[:-1], anonymous] if work.over.is_set()] == []
        assert forgotten == [True]
        await running.close()

    run(tmp_path, test)
