"""Requests that run in threads of their own until somebody ends them, and what came of them."""

import json
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from jan.testing import ThreadServer
from support.patience import SECONDS

API = "/api/v1"
CHAT = f"{API}/chat/completions"
KEYS = f"{API}/user/api-keys"
PERMISSIONS = ["read", "write", "inference", "keys"]
# A word for every token; longer than any test lasts.
WORDS = "word " * 4
LASTING = {"repeat": 5000, "context": 100_000}


def asked(**fields: Any) -> dict[str, Any]:
    """A chat whose answer ends only with its credential."""
    return {"model": "slow", "messages": [{"role": "user", "content": WORDS}], "stream": True} | fields


class UnderWay:
    """A request that is being answered, in a thread of its own that nobody waits for at the end of the tests."""

    def __init__(self, client: httpx.Client, method: str, url: str, **options: Any) -> None:
        self.begun = threading.Event()
        self.status = 0
        self.body = b""
        self.failure: httpx.HTTPError | None = None
        self._thread = threading.Thread(target=self._read, args=(client, method, url, options), daemon=True)
        self._thread.start()

    def _read(self, client: httpx.Client, method: str, url: str, options: dict[str, Any]) -> None:
        try:
            with client.stream(method, url, **options) as response:
                self.status = response.status_code
                for piece in response.iter_raw():
                    self.body += piece
                    self.begun.set()
        except httpx.HTTPError as failure:
            self.failure = failure

    @property
    def ended(self) -> bool:
        """True once there comes no more."""
        return not self._thread.is_alive()

    def all(self) -> bytes:
        """Wait for the end of the answer, which does not come by itself; return all that came."""
        self._thread.join(SECONDS)
        assert self.ended, "it goes on"
        return self.body

    @property
    def events(self) -> list[Any]:
        """The events of a stream, the last one too; [DONE] as a text."""
        lines = [line[6:] for line in self.all().splitlines() if line.startswith(b"data: ")]
        return [line.decode() if line == b"[DONE]" else json.loads(line) for line in lines]

    @property
    def error(self) -> dict[str, Any]:
        """The error that ended it: the last event of a stream, or the body of a refusal."""
        self.all()
        last = self.events[-1] if self.status == 200 else json.loads(self.body)
        found: dict[str, Any] = last["error"]
        return found

    @property
    def words(self) -> int:
        """The tokens of the answer that came, several in a chunk where the client was behind."""
        choices = [choice for event in self.events if "choices" in event for choice in event["choices"]]
        return "".join(choice["delta"].get("content") or "" for choice in choices).count("word ")


def all_streamed(clients: Iterable[httpx.Client], **fields: Any) -> list[UnderWay]:
    """A stream for each of the clients; all have begun."""
    streams = [UnderWay(client, "POST", CHAT, json=asked(**fields)) for client in clients]
    assert all(stream.begun.wait(SECONDS) for stream in streams)
    return streams


def streamed(client: httpx.Client, **fields: Any) -> UnderWay:
    """A stream that has begun."""
    return all_streamed([client], **fields)[0]


class Person:
    """Somebody with a session, and a key that the session made, on two servers of one store."""

    def __init__(self, here: ThreadServer, there: ThreadServer, role: str = "user") -> None:
        self.here, self.there = here, there
        made = here.admin.post(f"{API}/users", json={"email": f"{time.time_ns()}@example.com", "role": role})
        self.id: str = made.json()["id"]
        self.session = here.connect(self.token())
        self.made = self.key_of(self.session)
        self.key = here.connect(self.made["key"])

    def token(self) -> str:
        """The token of a new session."""
        services = self.here.application.services

        async def sign_in() -> str:
            return (await services.sessions.sign_in(await services.users.get(self.id))).token

        return self.here.run(sign_in())

    def key_of(self, maker: httpx.Client, **body: Any) -> dict[str, Any]:
        """A new key, made by a credential."""
        made = maker.post(KEYS, json={"name": "k", "permissions": PERMISSIONS} | body)
        assert made.status_code == 200, made.text
        found: dict[str, Any] = made.json()
        return found

    def charged(self) -> tuple[int, int]:
        """The requests and the tokens of answers that were charged, on both servers."""
        today = datetime.now(UTC).date()
        days = (today - timedelta(days=1), today + timedelta(days=1))
        found = [at.run(at.application.services.ledger.usage(self.id, *days)) for at in (self.here, self.there)]
        records = max(found, key=len)  # what the other one has not written yet is not in both
        return sum(one.requests for one in records), sum(one.completion_tokens for one in records)
