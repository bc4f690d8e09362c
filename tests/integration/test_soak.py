"""An hour in miniature: everything at once, often, with nothing unexpected and no more memory in the end."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.conversation import CHAT, CONVERSATIONS, StoredServer, bearer
from support.lean_http import lean_client
from support.load import resident_mib, slope
from support.server import check_invariants

pytestmark = pytest.mark.load

SECONDS = float(os.environ.get("JAN_TEST_SOAK_SECONDS", "0"))
#: Until memory is what it will be: the allocator's arenas, SQLite's cache, Python's own caches of types and code.
WARM_UP = SECONDS / 4
WARM_UP_ROUNDS = 600
#: In fewer, memory that comes and goes hides what stays. A busy machine needs more seconds for them, but not all
#: that it wants.
ROUNDS = 2000
MOST_SECONDS = SECONDS + 160
CLIENTS = 12
#: A round is one to a dozen requests. Measured: 0.3 MiB in a thousand rounds, which is the noise of a 60 MiB
#: process; a leak of one KiB a request would be three.
MOST_MIB_A_THOUSAND_ROUNDS = 2.0


class Soak:
    """Clients that do one thing after another, each at random, from one seed; what came back is counted."""

    def __init__(self, server: StoredServer) -> None:
        self._server = server
        self.answers: Counter[str] = Counter()
        self.surprises: list[str] = []
        self.done = 0

    async def run(self, seconds: float, rounds: int) -> None:
        """Run everybody at once for this time and until this many rounds are done, but not for ever."""
        begun, done = time.monotonic(), self.done

        def over() -> bool:
            lasted = time.monotonic() - begun
            return lasted >= seconds and (self.done - done >= rounds or lasted > MOST_SECONDS)

        await asyncio.gather(*(self._client(number, over) for number in range(CLIENTS)))

    async def _client(self, number: int, over: Callable[[], bool]) -> None:
        rng = random.Random(number + self.done)
        kinds = (self._whole, self._stream, self._leave, self._conversation, self._key, self._bad)
        url, headers = self._server.process.url, bearer(self._server.key)
        async with lean_client(url, headers, seconds=30) as client:
            while not over():
                kind = rng.choice(kinds)
                await kind(client, rng)
                self.answers[kind.__name__] += 1
                self.done += 1

    def _expect(self, answer: httpx.Response, *statuses: int) -> None:
        check_invariants(answer)
        if answer.status_code not in statuses:
            self.surprises.append(f"{answer.request.method} {answer.url.path}: {answer.status_code} {answer.text}")

    async def _whole(self, client: httpx.AsyncClient, rng: random.Random) -> None:
        self._expect(await client.post(CHAT, json=question(rng)), 200)

    async def _stream(self, client: httpx.AsyncClient, rng: random.Random) -> None:
        async with client.stream("POST", CHAT, json=question(rng, stream=True)) as answer:
            text = (await answer.aread()).decode()
        self._expect(answer, 200)
        if not text.endswith("data: [DONE]\n\n") or '"error"' in text:
            self.surprises.append(text[-500:])

    async def _leave(self, client: httpx.AsyncClient, rng: random.Random) -> None:
        async with client.stream("POST", CHAT, json=question(rng, model="slow", stream=True)) as answer:
            if answer.status_code != 200:
                await answer.aread()
            self._expect(answer, 200)
            async for _ in answer.aiter_lines():
                if rng.random() < 0.3:
                    break

    async def _conversation(self, client: httpx.AsyncClient, rng: random.Random) -> None:
        made = await client.post(CONVERSATIONS, json={"title": "soak"})
        self._expect(made, 200)
        where = made.json()["id"]
        for _ in range(rng.randint(1, 3)):
            asked = question(rng, conversation_id=where, stream=rng.random() < 0.5)
            self._expect(await client.post(CHAT, json=asked), 200)
        self._expect(await client.get(f"{CONVERSATIONS}/{where}"), 200)
        self._expect(await client.get(CONVERSATIONS), 200)
        self._expect(await client.delete(f"{CONVERSATIONS}/{where}"), 200)

    async def _key(self, client: httpx.AsyncClient, _rng: random.Random) -> None:
        made = await client.post("/api/v1/user/api-keys", json={"name": "soak", "permissions": ["read"]})
        self._expect(made, 200)
        headers = bearer(made.json()["key"])
        self._expect(await client.get("/api/v1/user/profile", headers=headers), 200)
        self._expect(await client.post(CONVERSATIONS, json={}, headers=headers), 403)
        self._expect(await client.delete(f"/api/v1/user/api-keys/{made.json()['id']}"), 200)
        self._expect(await client.get("/api/v1/user/profile", headers=headers), 401)

    async def _bad(self, client: httpx.AsyncClient, rng: random.Random) -> None:
        self._expect(await client.post(CHAT, content=b'{"model": ' * rng.randint(1, 50)), 400)
        self._expect(await client.post(CHAT, json={**question(rng), "temperature": 9}), 400)
        self._expect(await client.post(CHAT, json=question(rng, model="nobody")), 404)
        self._expect(await client.get(f"{CONVERSATIONS}/conv_{rng.randint(0, 9)}"), 404)
        self._expect(await client.post("/health", json={}), 405)
        self._expect(await client.get("/api/v1/user/profile", headers=bearer("jan_wrong")), 401)


def question(rng: random.Random, **more: Any) -> dict[str, Any]:
    model = rng.choice(("echo", "echo", "echo", "slow"))
    content = " ".join(f"w{rng.randint(0, 999)}" for _ in range(rng.randint(1, 30)))
    return {"model": model, "messages": [{"role": "user", "content": content}], **more}


async def sample(soak: Soak, pid: int, into: list[tuple[float, float]]) -> None:
    """Memory by thousands of rounds, all the time."""
    while True:
        into.append((soak.done / 1000, resident_mib(pid)))
        await asyncio.sleep(0.5)


@pytest.mark.timeout(2 * MOST_SECONDS + 120)
def test_memory_is_flat_and_nothing_unexpected_happens(tmp_path: Path) -> None:
    """Streams, whole answers, clients that leave, conversations, keys and bad requests, all mixed, on a fast and a
    slow model: each gets the answer that is due, the log has no error, the engine is idle in the end, and memory
    does not grow with the requests."""
    server = StoredServer(tmp_path)
    soak = Soak(server)
    samples: list[tuple[float, float]] = []

    async def scenario() -> None:
        await soak.run(WARM_UP, WARM_UP_ROUNDS)
        sampling = asyncio.create_task(sample(soak, server.process.pid, samples))
        await soak.run(SECONDS, ROUNDS)
        sampling.cancel()
        await asyncio.wait([sampling])

    try:
        asyncio.run(scenario())
        assert soak.surprises == []
        assert len(soak.answers) == 6
        # If a busy machine made too few rounds, allow the growth of the intended number.
        thousands = samples[-1][0] - samples[0][0]
        assert slope(samples) * thousands < MOST_MIB_A_THOUSAND_ROUNDS * max(thousands, ROUNDS / 1000)
        assert server.process.stop() == 0
        assert server.process.errors() == []
    finally:
        server.process.kill_if_running()
