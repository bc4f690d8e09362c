"""Servers with a store, the people who use them, and the few requests that every test of conversations makes."""

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from jan.auth import api_keys
from jan.storage import Store, store_from_url
from jan.storage.records import ApiKey, User
from support.command import run_jan
from support.server import ECHO_CONFIG, ServerProcess, http_client

API = "/api/v1"
CONVERSATIONS = f"{API}/conversations"
CHAT = f"{API}/chat/completions"
FAILING_CHAT = "/failing/chat/completions"
NOWHERE = "conv_000000000000"
ALL = ("read", "write", "inference", "keys")

# An endpoint like the real one, but its model fails after the third word.
FAILING = """
from functools import partial

from handlers.openai.chat.endpoint import ChatCompletions
from jan.engine.base import Delta
from jan.errors import InternalError

class Failing:
    def __init__(self, sink):
        self.sink, self.words = sink, 0

    def take(self, index, events, at, last):
        self.sink.take(index, events, at, last)
        self.words += sum(event.tokens for event in events if isinstance(event, Delta))
        if self.words >= 3:
            raise InternalError("the model failed")

class FailingChat(ChatCompletions):
    async def generate(self, asked):
        run = await super().generate(asked)
        attach = run.attach
        run.attach = lambda sink: attach(Failing(sink))
        return run
"""
_ROUTES = f"""
routes:
  - {{path: {FAILING_CHAT}, handler: failing.FailingChat, name: failing}}
"""
# Of a server whose store is taken away: how soon it gives up. Others have the time that a slow database takes.
IMPATIENT = {"JAN__STORAGE__TIMEOUT_SECONDS": "1"}


_PEOPLE_AT_ONCE = 10


class StoredServer:
    """A server in a folder, on a store; can be killed and started again."""

    def __init__(
        self,
        folder: Path,
        store_url: str | None = None,
        *arguments: str,
        environ: dict[str, str] | None = None,
        routes: str = "",
        config: str = ECHO_CONFIG,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.store_url = store_url or f"sqlite:///{folder}/data/jan.db"
        self._config = folder / "jan.yaml"
        self._config.write_text(
            f"{config}{_ROUTES}{routes}\nstorage: {{url: '{self.store_url}'}}\nshares: {{enabled: true}}\n"
        )
        (folder / "failing.py").write_text(FAILING)
        self._arguments = arguments
        self._environ = environ or {}
        self._people: dict[tuple[str, ...], list[str]] = {}
        self.start()
        try:
            self.key = self.process.late_key()
        except BaseException:
            self.process.kill_if_running()
            raise

    def start(self) -> None:
        """Start, again after it was killed."""
        environ = {"JAN__SERVER__GRACE_SECONDS": "0.5", **self._environ}
        self.process = ServerProcess(self._config, *self._arguments, environ=environ)

    def client(self, key: str | None = None) -> httpx.Client:
        """A client with the administrator's key, or another."""
        return http_client(self.process, headers=bearer(key or self.key))

    def jan(self, group: str, *arguments: str) -> str:
        """Return the output of the command line beside the running server."""
        ran = run_jan(group, "--config", self._config.name, *arguments, cwd=self.folder)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    def add_user(self, *permissions: str) -> str:
        """Another person, with a key of these permissions; returns the key."""
        waiting = self._people.setdefault(permissions or ALL, [])
        if not waiting:
            # Several at a time: opening the store takes longer than all of them.
            waiting += asyncio.run(self._add_people(permissions or ALL))
        return waiting.pop()

    async def _add_people(self, permissions: tuple[str, ...]) -> list[str]:
        store = store_from_url(self.store_url)
        await store.open()
        keys = [await _add_person(store, permissions) for _ in range(_PEOPLE_AT_ONCE)]
        await store.close()
        return keys


async def _add_person(store: Store, permissions: tuple[str, ...]) -> str:
    user, secret = User(email=f"{secrets.token_hex(6)}@example.com"), api_keys.generate()
    key = ApiKey(
        user_id=user.id,
        name="test",
        prefix=api_keys.prefix_of(secret),
        hash=api_keys.hash_of(secret),
        permissions=permissions,
    )
    await store.users.create(user)
    await store.keys.create(key)
    return secret


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def new_conversation(client: httpx.Client, **fields: Any) -> str:
    """The id of a new conversation."""
    made = client.post(CONVERSATIONS, json=fields)
    assert made.status_code == 200, made.text
    found: str = made.json()["id"]
    return found


def append(client: httpx.Client, conversation_id: str, content: str, role: str = "user", **fields: Any) -> Any:
    """Append a message; returns it as stored."""
    body = {"role": role, "content": content, **fields}
    answer = client.post(f"{CONVERSATIONS}/{conversation_id}/messages", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def pages(client: httpx.Client, url: str, **query: Any) -> Iterator[list[Any]]:
    """A list, page by page, following next_cursor."""
    cursor: dict[str, str] = {}
    while True:
        page = client.get(url, params={**query, **cursor}).json()
        assert page["object"] == "list"
        assert page["has_more"] == (page["next_cursor"] is not None)
        yield page["data"]
        if not page["has_more"]:
            return
        cursor = {"cursor": page["next_cursor"]}


def messages_of(client: httpx.Client, conversation_id: str) -> list[Any]:
    """All messages of a conversation."""
    url = f"{CONVERSATIONS}/{conversation_id}/messages"
    return [message for page in pages(client, url, limit=500) for message in page]


def chat(client: httpx.Client, conversation_id: str, *words: str, **fields: Any) -> httpx.Response:
    """Say something in a conversation."""
    messages = [{"role": "user", "content": text} for text in words]
    body = {"model": "echo", "conversation_id": conversation_id, "messages": messages, **fields}
    return client.post(CHAT, json=body)
