"""Nothing that a client was promised is lost or doubled, however often server and store are killed."""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from support.conversation import CONVERSATIONS, IMPATIENT, StoredServer, bearer, messages_of, new_conversation
from support.lean_http import lean_client
from support.mongodb import SecantusServer
from support.ports import free_port

pytestmark = pytest.mark.load

WRITERS = 20
MESSAGES_EACH = 100
KILLS = 10
PATIENCE_SECONDS = 120
# A database takes seconds to come back, a server less than one.
KILLS_OF_THE_DATABASE = (2, 5, 8)


class Writers:
    """Clients, one a conversation; each sends a message until it is acknowledged, then the next."""

    def __init__(self, server: StoredServer, url: str) -> None:
        self._url = url
        self._key = server.key
        with server.client() as client:
            self.acknowledged: dict[str, list[str]] = {new_conversation(client): [] for _ in range(WRITERS)}
        self.repeated = 0
        self._refusals: list[str] = []

    @property
    def count(self) -> int:
        return sum(len(sent) for sent in self.acknowledged.values())

    async def write(self) -> None:
        await asyncio.gather(*map(self._fill, self.acknowledged))

    async def _fill(self, conversation_id: str) -> None:
        async with lean_client(self._url, bearer(self._key), seconds=20) as client:
            await self._write_all(client, conversation_id)

    async def _write_all(self, client: httpx.AsyncClient, conversation_id: str) -> None:
        for number in range(MESSAGES_EACH):
            message_id = f"{conversation_id[-16:]}-{number:04}"
            body = {"id": message_id, "role": "user", "content": f"message {number} of {conversation_id}"}
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not await self._sent(client, f"{CONVERSATIONS}/{conversation_id}/messages", body):
                assert time.monotonic() < deadline, f"a message is never taken: {self._refusals[-1]}"
                self.repeated += 1
                await asyncio.sleep(0.2)
            self.acknowledged[conversation_id].append(message_id)

    async def _sent(self, client: httpx.AsyncClient, url: str, body: dict[str, str]) -> bool:
        try:
            answer = await client.post(url, json=body)
        except httpx.TransportError as error:
            self._refusals.append(repr(error))
            return False
        assert answer.status_code in (200, 503), answer.text
        if answer.status_code == 503:
            self._refusals.append(answer.text)
        return answer.status_code == 200


async def kill_at_random(writers: Writers, kill: Callable[[int], Awaitable[None]]) -> None:
    """Kill ten times, at moments spread over the writing."""
    total = WRITERS * MESSAGES_EACH
    for number in range(KILLS):
        at = random.randint(total * number // KILLS, total * (number + 1) // KILLS - WRITERS)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while writers.count < at:
            assert time.monotonic() < deadline, "the writers do not get on"
            await asyncio.sleep(0.005)
        await kill(number)


def restart(server: StoredServer) -> None:
    server.process.signal(signal.SIGKILL)
    server.process.wait()
    server.start()


def run(server: StoredServer, port: int, kill: Callable[[int], None]) -> None:
    """Write and kill; then compare what was acknowledged with what is there."""
    writers = Writers(server, f"http://127.0.0.1:{port}")

    async def both() -> None:
        killing = kill_at_random(writers, lambda number: asyncio.to_thread(kill, number))
        await asyncio.gather(writers.write(), killing)

    asyncio.run(both())
    restart(server)
    assert writers.repeated > 0  # else no kill interrupted anything
    with server.client() as client:
        for conversation_id, sent in writers.acknowledged.items():
            stored = messages_of(client, conversation_id)
            assert [m["id"] for m in stored] == sent
            assert len(sent) == MESSAGES_EACH
            assert [m["sequence"] for m in stored] == list(range(1, len(sent) + 1))
            assert [m["parent_id"] for m in stored] == [None, *sent[:-1]]
            contents = [f"message {number} of {conversation_id}" for number in range(len(sent))]
            assert [m["content"] for m in stored] == contents
    assert server.process.stop() == 0


def test_sqlite_and_server(tmp_path: Path) -> None:
    """2,000 messages into 20 conversations while the server is killed ten times: every acknowledged message
    is there, once, in order."""
    port = free_port()
    server = StoredServer(tmp_path / "server", None, "--port", str(port), environ=IMPATIENT)
    try:
        run(server, port, lambda _number: restart(server))
    finally:
        server.process.kill_if_running()


def test_mongodb_and_server(own_server: SecantusServer, tmp_path: Path) -> None:
    """The same while the server is killed seven times and the database three times."""
    port = free_port()
    url = own_server.url("jan_durability")
    server = StoredServer(tmp_path / "server", url, "--port", str(port), environ=IMPATIENT)

    def kill(number: int) -> None:
        if number in KILLS_OF_THE_DATABASE:
            own_server.stop(signal.SIGKILL)
            own_server.start()
        else:
            restart(server)

    try:
        run(server, port, kill)
    finally:
        server.process.kill_if_running()
