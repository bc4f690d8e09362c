"""What was deleted is nowhere any more: a canary is searched for in every file of the server, byte by byte."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.conversation import CHAT, CONVERSATIONS, StoredServer, new_conversation
from support.patience import until

USERS = "/api/v1/users"
PRESETS = "/api/v1/user/presets"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoredServer]:
    server = StoredServer(tmp_path_factory.mktemp("deleted"))
    with server.client() as client:
        # Beside what is deleted there is much that stays.
        for number in range(40):
            ident = new_conversation(client, title=f"kept {number}")
            append(client, ident, f"kept {number} " * 200)
    yield server
    server.process.kill_if_running()


@pytest.fixture
def client(stored: StoredServer) -> Iterator[httpx.Client]:
    with stored.client() as client:
        yield client


@pytest.fixture
def canary() -> str:
    return f"canary{secrets.token_hex(8)}"


def append(client: httpx.Client, ident: str, text: str, **headers: str) -> dict[str, Any]:
    made = client.post(
        f"{CONVERSATIONS}/{ident}/messages", json={"role": "user", "content": text}, headers=headers
    )
    assert made.status_code == 200, made.text
    found: dict[str, Any] = made.json()
    return found


def files_with(folder: Path, text: str) -> list[str]:
    """The files below a folder that have the text anywhere."""
    needle = text.encode()
    return [file.name for file in folder.rglob("*") if file.is_file() and needle in file.read_bytes()]


def is_nowhere(stored: StoredServer, canary: str) -> bool:
    """Return True once no file, no export made now and no line of the log has the text."""
    return until(lambda: files_with(stored.folder, canary) == []) and not any(
        canary in line for line in [stored.process.banner, *stored.process.stderr]
    )


def test_a_deleted_conversation_is_in_no_file(stored: StoredServer, client: httpx.Client, canary: str) -> None:
    """Neither its title, metadata and messages, nor its former title, which a link shows, nor answers that were
    stored while they were generated; and not in an export."""
    ident = new_conversation(client, title=f"{canary} once", metadata={"about": canary})
    for _ in range(30):
        append(client, ident, f"{canary} " * 50)
    client.post(f"{CONVERSATIONS}/{ident}/shares", json={}).raise_for_status()
    client.patch(f"{CONVERSATIONS}/{ident}", json={"title": f"{canary} now"}).raise_for_status()
    earlier = {"role": "assistant", "content": "Hm.", "reasoning_content": canary}
    body = {
        "model": "echo",
        "conversation_id": ident,
        "messages": [earlier, {"role": "user", "content": f"say {canary}"}],
    }
    client.post(CHAT, json=body).raise_for_status()
    assert files_with(stored.folder, canary)
    client.delete(f"{CONVERSATIONS}/{ident}").raise_for_status()
    assert is_nowhere(stored, canary)
    stored.jan("store", "export", "everything.jsonl")
    assert files_with(stored.folder, canary) == []
    assert files_with(stored.folder, "kept 7")


def test_a_deleted_background_response_is_in_no_file(
    stored: StoredServer, client: httpx.Client, canary: str
) -> None:
    """Neither what was asked for, nor what was made of it until it was deleted."""
    body = {"model": "slow", "input": f"say {canary} " * 100, "instructions": f"Be {canary}.", "background": True}
    own = client.post("/v1/responses", json=body).json()["id"]
    assert until(lambda: client.get(f"/v1/responses/{own}").json()["output"])
    assert files_with(stored.folder, canary)
    client.delete(f"/v1/responses/{own}").raise_for_status()
    assert is_nowhere(stored, canary)


def test_a_deleted_user_is_in_no_file(stored: StoredServer, client: httpx.Client, canary: str) -> None:
    """Neither address, name and keys, nor conversations with their messages; and not in an export."""
    address = f"{canary}@example.org"
    made = client.post(USERS, json={"email": address, "name": canary})
    with stored.client(stored.jan("key", "add", address, "--name", canary)) as their:
        for number in range(3):
            ident = new_conversation(their, title=f"{canary} {number}", metadata={"about": canary})
            append(their, ident, f"{canary} " * 500)
            their.post(f"{CONVERSATIONS}/{ident}/shares", json={}).raise_for_status()
            body = {"model": "echo", "conversation_id": ident, "messages": [{"role": "user", "content": canary}]}
            their.post(CHAT, json=body).raise_for_status()
    assert files_with(stored.folder, canary)
    client.delete(f"{USERS}/{made.json()['id']}").raise_for_status()
    assert is_nowhere(stored, canary)
    stored.jan("store", "export", "without.jsonl")
    assert files_with(stored.folder, canary) == []
    assert files_with(stored.folder, "kept 7")


@pytest.mark.parametrize("renamed", ["conversation", "user", "key", "preset"])
def test_a_replaced_name_is_in_no_file(
    stored: StoredServer, client: httpx.Client, canary: str, renamed: str
) -> None:
    """The new one takes its place everywhere."""
    if renamed == "conversation":
        path = f"{CONVERSATIONS}/{new_conversation(client, title=canary)}"
        change = {"title": "new"}
    elif renamed == "user":
        path, change = "/api/v1/user/profile", {"name": "new"}
        client.patch(path, json={"name": canary}).raise_for_status()
    elif renamed == "preset":
        made = client.post(PRESETS, json={"name": canary, "system_prompt": f"Be {canary}."})
        path, change = f"{PRESETS}/{made.json()['id']}", {"name": "new", "system_prompt": None}
    else:
        made = client.post("/api/v1/user/api-keys", json={"name": canary})
        path, change = f"/api/v1/user/api-keys/{made.json()['id']}", {"name": "new"}
    assert files_with(stored.folder, canary)
    client.patch(path, json=change).raise_for_status()
    assert is_nowhere(stored, canary)


def test_a_deleted_preset_is_in_no_file(stored: StoredServer, client: httpx.Client, canary: str) -> None:
    """Neither its name nor its system prompt, also if the request that made it is sent again."""
    body, once = {"name": canary, "system_prompt": canary}, {"Idempotency-Key": secrets.token_hex(16)}
    first = client.post(PRESETS, json=body, headers=once).json()["id"]
    assert files_with(stored.folder, canary)
    client.delete(f"{PRESETS}/{first}").raise_for_status()
    assert is_nowhere(stored, canary)
    again = client.post(PRESETS, json=body, headers=once).json()["id"]
    assert again != first
    client.delete(f"{PRESETS}/{again}").raise_for_status()


def test_an_answer_kept_for_a_repeated_request_is_forgotten(client: httpx.Client, canary: str) -> None:
    """With its conversation: a request that is sent again does not bring the text back."""
    keys = [secrets.token_hex(16) for _ in range(2)]
    made = client.post(CONVERSATIONS, json={"title": canary}, headers={"Idempotency-Key": keys[0]})
    ident = made.json()["id"]
    append(client, ident, canary, **{"Idempotency-Key": keys[1]})
    append(client, ident, canary, **{"Idempotency-Key": keys[1]})
    client.delete(f"{CONVERSATIONS}/{ident}").raise_for_status()
    again = client.post(
        f"{CONVERSATIONS}/{ident}/messages",
        json={"role": "user", "content": canary},
        headers={"Idempotency-Key": keys[1]},
    )
    assert (again.status_code, canary in again.text) == (404, False)
    other = client.post(CONVERSATIONS, json={"title": canary}, headers={"Idempotency-Key": keys[0]})
    assert other.json()["id"] != ident
    client.delete(f"{CONVERSATIONS}/{other.json()['id']}").raise_for_status()


def test_a_kept_stream_is_forgotten(client: httpx.Client, canary: str) -> None:
    """With its conversation: nobody can resume it."""
    ident = new_conversation(client)
    body = {
        "model": "echo",
        "conversation_id": ident,
        "messages": [{"role": "user", "content": canary}],
        "stream": True,
        "on_disconnect": "finish",
    }
    answer = client.post(CHAT, json=body)
    first = json.loads(next(line[6:] for line in answer.text.splitlines() if line.startswith("data: ")))
    kept = f"{CHAT}/{first['id']}/events"
    assert canary in client.get(kept).text
    client.delete(f"{CONVERSATIONS}/{ident}").raise_for_status()
    gone = client.get(kept)
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "stream_not_kept")


def test_nothing_is_left_by_a_server_that_was_killed(stored: StoredServer, canary: str) -> None:
    """Right after the deletion: the next start empties the log of writes."""
    with stored.client() as client:
        ident = new_conversation(client, title=canary)
        append(client, ident, canary * 100)
        client.delete(f"{CONVERSATIONS}/{ident}").raise_for_status()
    stored.process.kill_if_running()
    stored.start()
    assert files_with(stored.folder, canary) == []
