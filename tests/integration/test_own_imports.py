"""Imports of a server's own exports, repeated, on both backends."""

from typing import Any

import httpx
import pytest
from support.conversation import CONVERSATIONS, append, new_conversation
from support.foreign_exports import chatgpt

KIND = {"Content-Type": "application/jsonl"}


def exported(client: httpx.Client, ident: str) -> bytes:
    return client.get(f"{CONVERSATIONS}/{ident}/export").content


def imported(client: httpx.Client, lines: bytes, headers: dict[str, str] | None = None) -> Any:
    """The conversation that an import made, or the code of its refusal."""
    where = f"{CONVERSATIONS}/import?once=true"
    answer = client.post(where, content=lines, headers={**KIND, **(headers or {})})
    assert answer.status_code in (200, 409), answer.text
    return answer.json() if answer.status_code == 200 else answer.json()["error"]["code"]


def test_what_is_here_is_not_imported_again(me: httpx.Client) -> None:
    """Neither into the account that exported it, nor its copies; who asks for a copy gets one."""
    ident = new_conversation(me, title="kept")
    append(me, ident, "hello")
    lines = exported(me, ident)
    assert imported(me, lines) == "already_exists"
    copy = me.post(f"{CONVERSATIONS}/import", content=lines, headers=KIND)
    assert copy.status_code == 200
    assert "origin" not in copy.json()
    assert len(me.get(CONVERSATIONS).json()["data"]) == 2
    me.delete(f"{CONVERSATIONS}/{ident}")
    back = imported(me, lines)
    assert (back["title"], back["origin"]) == ("kept", f"jan:{ident}")
    assert imported(me, lines) == "already_exists"
    assert imported(me, exported(me, back["id"])) == "already_exists"


def test_another_account_imports_once(me: httpx.Client, somebody: httpx.Client) -> None:
    """A copy of a copy counts as the same; a repeated request is answered as before."""
    ident = new_conversation(me, title="mine")
    append(me, ident, "hello")
    lines = exported(me, ident)
    once = {"Idempotency-Key": "5" * 20}
    first = imported(somebody, lines, once)
    assert imported(somebody, lines, once) == first
    assert imported(somebody, lines) == "already_exists"
    moved = exported(somebody, first["id"])
    assert imported(me, moved)["origin"] == f"jan:{ident}"
    assert imported(me, moved) == "already_exists"


def test_what_came_from_another_application_keeps_its_origin(me: httpx.Client, somebody: httpx.Client) -> None:
    """So it is imported once from either file."""
    assert me.post("/api/v1/imports", json=chatgpt(1)).json()["imported"] == 1
    (conversation,) = me.get(CONVERSATIONS).json()["data"]
    assert imported(somebody, exported(me, conversation["id"]))["origin"] == conversation["origin"]
    assert somebody.post("/api/v1/imports", json=chatgpt(1)).json()["known"] == 1


@pytest.mark.parametrize("origin", ["x", "nobody:1", "jan:", "chatgpt:" + "x" * 10_000, "jan:\u202e1", ":", ""])
def test_a_made_up_origin_is_stored_as_a_short_one(me: httpx.Client, origin: str) -> None:
    """Whatever a file says."""
    first = (
        '{"object":"conversation","id":"%s","title":"t","model":null,"metadata":{},"created_at":1,"updated_at":1,'
    )
    rest = '"head_id":null,"message_count":0,"origin":"%s"}'
    lines = (first % ("i" * 5000) + rest % origin).encode()
    made = imported(me, lines)
    assert made["origin"].startswith(("jan:", "chatgpt:"))
    assert len(made["origin"]) < 150
    assert imported(me, lines) == "already_exists"
