"""Web loops and models' processes that are killed at random under load: nothing that was acknowledged is lost, and
nothing is left behind. ``JAN_KILLS`` says how many kills; 200 take ten minutes."""

import asyncio
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import counting
from support.conversation import StoredServer, bearer
from support.server import DEFAULT_CONFIG

pytestmark = [pytest.mark.slow, pytest.mark.heavy, pytest.mark.timeout(3600)]

KILLS = int(os.environ.get("JAN_KILLS", "200"))
STREAMS = 64
TOKENS = 30
WORDS = "".join(f"word{number} " for number in range(TOKENS))
LOOPS = 2
_CONFIG = f"""
extends: {DEFAULT_CONFIG}
log: {{format: json}}
server: {{workers: {LOOPS}, grace_seconds: 5}}
responses: {{lease_seconds: 2}}
limits: {{authenticated: "off", anonymous: "off", inference: "off"}}
models:
  - {{id: one, engine: counting.Counting, isolation: process, options: {{step_seconds: 0.01}}}}
  - {{id: two, engine: counting.Counting, isolation: process, options: {{step_seconds: 0.01}}}}
"""
# From the last kill to the last answer.
_PATIENCE_SECONDS = 120
# A refusal of a server that is being repaired, or a connection that its end cut.
_AGAIN = (502, 503)


class Client:
    """One user's client: it writes messages and asks for answers until it is told to stop."""

    def __init__(self, number: int, http: httpx.AsyncClient, key: str) -> None:
        self.number = number
        self.key = key
        self._http = http
        self._headers = bearer(key)
        self.written: list[str] = []
        self.outcomes: Counter[str] = Counter()
        self.conversation = ""
        #: What it waits for, for whoever wants to know why a test does not end.
        self.doing = ""

    async def insist(self, send: Callable[[], Awaitable[httpx.Response]]) -> dict[str, Any]:
        """Send a request, with the same key for all tries, until it is answered."""
        while True:
            try:
                answer = await send()
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                continue
            if answer.status_code in _AGAIN or answer.status_code == 409:  # the first try is still answered
                await asyncio.sleep(0.05)
                continue
            assert answer.status_code == 200, answer.text
            return dict(answer.json())

    async def post(self, path: str, once: str, body: dict[str, Any]) -> dict[str, Any]:
        self.doing = f"POST {path} {once}"
        headers = self._headers | {"Idempotency-Key": f"{once:->32}"}
        return await self.insist(lambda: self._http.post(path, json=body, headers=headers))

    async def run(self, stop: asyncio.Event) -> None:
        made = await self.post("/v1/conversations", f"c-{self.number}", {})
        self.conversation = made["id"]
        turn = 0
        while not stop.is_set():
            turn += 1
            text = f"note-{self.number}-{turn}"
            body = {"role": "user", "content": text}
            await self.post(f"/v1/conversations/{self.conversation}/messages", text, body)
            self.written.append(text)
            self.outcomes[await self.answer(turn)] += 1

    async def answer(self, turn: int) -> str:
        """Ask for an answer that is made in the background, and look until it has ended."""
        asked = {"model": random.choice(("one", "two")), "input": WORDS, "background": True}
        begun = await self.post("/v1/responses", f"r-{self.number}-{turn}", asked)
        while True:
            found = await self.insist(
                lambda: self._http.get(f"/v1/responses/{begun['id']}", headers=self._headers)
            )
            self.doing = f"waits for {begun['id']}, {found['status']}"
            if found["status"] not in ("queued", "in_progress"):
                break
            await asyncio.sleep(0.1)
        if found["status"] == "completed":
            assert found["output"][0]["content"][0]["text"] == WORDS
            assert found["usage"]["output_tokens"] == TOKENS
        else:
            assert found["status"] == "failed", found
            assert found["error"]["code"], found
        return str(found["status"])

    async def check(self) -> None:
        """Check that all that was acknowledged is there, once."""
        url = f"/v1/conversations/{self.conversation}/messages"
        stored, query = list[str](), {"limit": "100"}
        while True:
            page = await self.insist(partial(self._http.get, url, params=query, headers=self._headers))
            stored += [message["content"] for message in page["data"]]
            if not page["has_more"]:
                break
            query["cursor"] = page["next_cursor"]
        assert stored == self.written
        usage = await self.insist(lambda: self._http.get("/v1/usage", headers=self._headers))
        # Usage is written behind the answers, so a kill may lose some of it; it never counts twice.
        assert self.outcomes.total() * TOKENS >= usage["totals"]["completion_tokens"]


async def processes(http: httpx.AsyncClient, key: str) -> list[dict[str, Any]]:
    while True:
        try:
            answer = await http.get("/v1/status/processes", headers=bearer(key))
        except httpx.TransportError:
            continue
        if answer.status_code == 200:
            return list(answer.json()["processes"])


async def kill_often(http: httpx.AsyncClient, server: StoredServer, kills: int) -> Counter[str]:
    """Kill loops and engines in turn, each time one that serves, and wait until another has taken its place."""
    killed: Counter[str] = Counter()
    for number in range(kills):
        role = ("web_loop", "engine")[number % 2]
        victim = random.choice([one for one in await processes(http, server.key) if one["role"] == role])
        os.kill(victim["pid"], signal.SIGKILL)
        killed[role] += 1
        while True:
            pids = [one["pid"] for one in await processes(http, server.key)]
            if victim["pid"] not in pids and len(pids) == 1 + LOOPS + 2:
                break
            await asyncio.sleep(0.05)
        await asyncio.sleep(random.random())
    return killed


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """64 clients write and ask while processes are killed; then the server stops and nothing of it is left."""
    shutil.copy(counting.__file__, tmp_path)
    server = StoredServer(tmp_path, environ={"JAN__SERVER__GRACE_SECONDS": "5"}, config=_CONFIG)
    keys = [server.add_user() for _ in range(STREAMS)]
    supervisor = server.process.pid

    async def test() -> tuple[list[Client], Counter[str], list[dict[str, Any]]]:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=16)
        async with httpx.AsyncClient(base_url=server.process.url, timeout=60, limits=limits) as http:
            stop = asyncio.Event()
            clients = [Client(number, http, key) for number, key in enumerate(keys)]
            tasks = [asyncio.create_task(client.run(stop)) for client in clients]
            killed = await kill_often(http, server, KILLS)
            stop.set()
            _, late = await asyncio.wait(tasks, timeout=_PATIENCE_SECONDS)
            assert not late, [client.doing for client, task in zip(clients, tasks, strict=True) if task in late]
            await asyncio.gather(*tasks)
            await asyncio.sleep(1)  # usage is written behind the requests
            for client in clients:
                await client.check()
            return clients, killed, await processes(http, server.key)

    before = len(os.listdir(f"/proc/{supervisor}/fd"))
    began = time.monotonic()
    try:
        clients, killed, listed = asyncio.run(test())
        files = len(os.listdir(f"/proc/{supervisor}/fd"))
        assert server.process.stop() == 0
    finally:
        server.process.kill_if_running()
    outcomes = sum((client.outcomes for client in clients), Counter[str]())
    written = sum(len(client.written) for client in clients)
    memory = {one["role"]: round(one["memory_bytes"] / 1e6) for one in listed}
    print(
        f"{killed.total()} kills {dict(killed)} in {time.monotonic() - began:.0f} s; {written} messages; answers"
        f" {dict(outcomes)}; files of the supervisor {before} -> {files}; MB {memory}"
    )
    assert outcomes["completed"] > STREAMS
    assert files <= before + 4
    assert not [one for one in listed if Path(f"/proc/{one['pid']}").exists()]
    assert list((tmp_path / "data" / "run").iterdir()) == []
