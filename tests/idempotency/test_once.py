"""Work that is carried out once, and shows that it is under way."""

import asyncio
from pathlib import Path

import pytest

from jan.idempotency import once
from jan.idempotency.ids import IdSource
from jan.storage import store_from_url
from jan.storage.idempotent_answers import LONG_AGO, IdempotentAnswer
from jan.storage.records import now


def test_long_work_shows_that_it_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work of minutes is not taken for abandoned: its record says again and again that it goes on."""
    monkeypatch.setattr(once, "_SIGN_OF_LIFE_SECONDS", 0.01)
    asyncio.run(asyncio.wait_for(seen_alive(f"sqlite:///{tmp_path}/jan.db"), 60))


async def seen_alive(url: str) -> None:
    """Carry out work that ends once two signs of life were seen."""
    store = store_from_url(url)
    await store.open()
    answers, began = store.idempotent_answers, now()
    ids: list[str] = []

    class Watched:
        """The store's answers, noting the id of the request."""

        def __getattr__(self, name: str) -> object:
            return getattr(answers, name)

        async def begin(self, request: IdempotentAnswer, *, abandoned_before: object) -> IdempotentAnswer:
            ids.append(request.id)
            return await answers.begin(request, abandoned_before=LONG_AGO)

    async def work(_mint: IdSource) -> bytes:
        other = IdempotentAnswer(
            id=ids[0], fingerprint="", attempt="other", begun_at=began, first_at=began, seed=b"s"
        )
        times = set()
        while len(times) < 3:
            times.add((await answers.begin(other, abandoned_before=LONG_AGO)).begun_at)
            await asyncio.sleep(0.005)
        return b"done"

    asked = once.Asked(owner="me", operation="post", key="k" * 16, content="")
    given = await once.Idempotency(Watched()).once(asked, work)  # type: ignore[arg-type]  # it has the methods
    assert given == once.Given(b"done", replayed=False)
    await store.close()
