"""Links to conversations: what they show, to whom, for how long; and what they never tell anybody."""

import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from jan.storage.records import UserChanges, now
from jan.testing import ThreadServer, served

CONVERSATIONS = "/v1/conversations"
READ = "/v1/shared"
TWO_DAYS = timedelta(days=2)
GONE = "There is no such link. It may have ended, or its owner has revoked it."


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    """A server with links of at most two days. Its log stays free of errors."""
    config = "extends: default\nshares: {enabled: true, max_days: 2}\nmodels: [{id: echo, engine: echo}]\n"
    with served(f"{config}limits: {{authenticated: 'off', anonymous: 'off', inference: 'off'}}") as server:
        yield server
        assert server.errors == []


@pytest.fixture
def me(server: ThreadServer) -> httpx.Client:
    return server.connect(server.add_user())


def conversation_of(client: httpx.Client, *items: dict[str, Any], title: str = "A title") -> str:
    """A new conversation with these items."""
    body = {"title": title, "metadata": {"private": "canary-metadata"}, "items": list(items)}
    return str(client.post(CONVERSATIONS, json=body).raise_for_status().json()["id"])


def say(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def add(client: httpx.Client, conversation: str, role: str, content: Any, **fields: Any) -> str:
    """Append a message; returns its id."""
    made = client.post(f"{CONVERSATIONS}/{conversation}/messages", json={**say(role, content), **fields})
    return str(made.raise_for_status().json()["id"])


def share(client: httpx.Client, conversation: str, **body: Any) -> dict[str, Any]:
    made = client.post(f"{CONVERSATIONS}/{conversation}/shares", json={"expires_in": 3600, **body})
    shown: dict[str, Any] = made.raise_for_status().json()
    return shown


def read(server: ThreadServer, secret: str, **body: Any) -> dict[str, Any]:
    answer = server.client.post(READ, json={"secret": secret, **body})
    shown: dict[str, Any] = answer.raise_for_status().json()
    return shown


def texts(shown: dict[str, Any]) -> list[list[str]]:
    return [message["texts"] for message in shown["data"]]


def is_gone(answer: httpx.Response) -> bool:
    """Return True for the one answer of every link that shows nothing."""
    return answer.status_code == 404 and answer.json()["error"] == {
        "message": GONE,
        "type": "invalid_request_error",
        "param": None,
        "code": "not_found",
    }


def test_a_stranger_reads_title_and_texts_and_nothing_else(server: ThreadServer, me: httpx.Client) -> None:
    """No address, key, metadata, reasoning, call or result; no system prompt; nothing for caches and robots."""
    profile = me.get("/v1/user/profile").json()
    conversation = conversation_of(me, say("system", "canary-system"), say("user", "Hello *there*"))
    call = {"id": "call_1", "type": "function", "function": {"name": "canary_tool", "arguments": "{}"}}
    thought = {"reasoning_content": "canary-thought"}
    add(me, conversation, "assistant", "Hi **you**", tool_calls=[call], model="echo", **thought)
    add(me, conversation, "tool", "canary-result", tool_call_id="call_1")
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,canary-image"}}
    add(me, conversation, "user", [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}, image])
    made = share(me, conversation)
    assert made["fragment"] == f"#share={made['secret']}"
    answer = server.client.post(READ, json={"secret": made["secret"], "include_html": True})
    shown = answer.json()
    assert (answer.headers["cache-control"], answer.headers["x-robots-tag"]) == ("no-store", "noindex, nofollow")
    assert shown["title"] == "A title"
    assert texts(shown) == [[], ["Hello *there*"], ["Hi **you**"], [], ["one", "two"]]
    assert [message["role"] for message in shown["data"]] == ["system", "user", "assistant", "tool", "user"]
    assert shown["data"][2]["blocks"][0]["html"] == '<p dir="auto">Hi <strong>you</strong></p>'
    assert shown["data"][4]["left_out"] == 1
    assert "canary" not in answer.text
    for private in (profile["id"], profile["email"], conversation):
        assert private not in answer.text
    opened = share(me, conversation, include_system=True)
    assert texts(read(server, opened["secret"]))[0] == ["canary-system"]


def test_a_share_is_what_was_there(server: ThreadServer, me: httpx.Client) -> None:
    """Later messages and titles are not shown, but where its owner asked for messages; a branch is one branch."""
    conversation = conversation_of(me, say("user", "first"))
    root = me.get(f"{CONVERSATIONS}/{conversation}").json()["head_id"]
    left = add(me, conversation, "assistant", "left", parent_id=root)
    add(me, conversation, "assistant", "right", parent_id=root)
    whole, live = share(me, conversation), share(me, conversation, include_later=True)
    branch = share(me, conversation, message_id=left)
    below = add(me, conversation, "user", "later", parent_id=left)
    me.patch(f"{CONVERSATIONS}/{conversation}", json={"title": "canary"}).raise_for_status()
    assert texts(read(server, whole["secret"])) == [["first"], ["left"], ["right"]]
    assert texts(read(server, live["secret"])) == [["first"], ["left"], ["right"], ["later"]]
    assert texts(read(server, branch["secret"])) == [["first"], ["left"]]
    assert texts(read(server, share(me, conversation, message_id=below)["secret"])) == [
        ["first"],
        ["left"],
        ["later"],
    ]
    assert {read(server, one["secret"])["title"] for one in (whole, live, branch)} == {"A title"}


@pytest.mark.parametrize("of_a_branch", [False, True])
def test_a_long_one_comes_in_pages(server: ThreadServer, me: httpx.Client, of_a_branch: bool) -> None:
    """Each message once and in order. A cursor leads to nothing that is not shared; a wrong one is refused."""
    words = [str(number) for number in range(7)]
    conversation = conversation_of(me, *(say("user", word) for word in words))
    head = me.get(f"{CONVERSATIONS}/{conversation}").json()["head_id"]
    made = share(me, conversation, message_id=head if of_a_branch else None)
    add(me, conversation, "user", "later")
    found, cursor = [], None
    while True:
        page = read(server, made["secret"], limit=3, cursor=cursor)
        assert page["has_more"] == (page["next_cursor"] is not None)
        found += texts(page)
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == [[word] for word in words]
    assert read(server, made["secret"], cursor="7")["data"] == []
    assert read(server, made["secret"], cursor="999")["data"] == []
    refused = server.client.post(READ, json={"secret": made["secret"], "cursor": "-1"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_cursor")


def test_what_is_deleted_is_shown_by_no_link(server: ThreadServer, me: httpx.Client) -> None:
    """Neither the text of a message, nor a title that was made of it."""
    conversation = conversation_of(me, say("user", "canary-question"), say("assistant", "answer"), title="")
    made = share(me, conversation)
    assert read(server, made["secret"])["title"] == "canary-question"
    [first, _] = me.get(f"{CONVERSATIONS}/{conversation}/items?order=asc").json()["data"]
    me.delete(f"{CONVERSATIONS}/{conversation}/items/{first['id']}").raise_for_status()
    shown = read(server, made["secret"])
    assert (shown["title"], texts(shown)) == ("", [[], ["answer"]])
    assert "canary" not in me.get("/v1/user/shares").text


def test_long_messages_end_a_page(server: ThreadServer, me: httpx.Client) -> None:
    """A page holds no more than half a million characters, but always one message."""
    conversation = conversation_of(me, *(say("user", letter * 300_000) for letter in "abc"))
    secret = share(me, conversation)["secret"]
    first = read(server, secret)
    assert [len(message["texts"]) for message in first["data"]] == [1]
    assert first["next_cursor"] == "1"
    assert texts(read(server, secret, cursor="2")) == [["c" * 300_000]]


def ends(server: ThreadServer, me: httpx.Client, made: dict[str, Any], conversation: str, how: str) -> None:
    """End a link in one of the ways."""
    services = server.application.services
    if how == "revoked":
        assert me.delete(f"/v1/user/shares/{made['id']}").json()["deleted"] is True
    elif how == "conversation deleted":
        me.delete(f"{CONVERSATIONS}/{conversation}").raise_for_status()
    elif how == "user disabled":
        who = me.get("/v1/user/profile").json()["id"]
        server.run(services.users.update(who, UserChanges(disabled=True)))
    else:
        who = me.get("/v1/user/profile").json()["id"]
        server.run(services.deletion.delete(who))


@pytest.mark.parametrize("how", ["revoked", "conversation deleted", "user disabled", "user deleted"])
def test_every_end_looks_the_same(server: ThreadServer, me: httpx.Client, how: str) -> None:
    """As a link that never was: nobody learns why it shows nothing."""
    conversation = conversation_of(me, say("user", "x"))
    made = share(me, conversation)
    assert texts(read(server, made["secret"])) == [["x"]]
    ends(server, me, made, conversation, how)
    assert is_gone(server.client.post(READ, json={"secret": made["secret"]}))
    assert is_gone(server.client.post(READ, json={"secret": "jans_" + "A" * 22}))
    assert is_gone(server.client.post(READ, json={"secret": made["id"]}))


def test_a_link_has_an_end(server: ThreadServer, me: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused beyond the bound, and shows nothing from its end on, nor is it listed."""
    conversation = conversation_of(me, say("user", "x"))
    refused = me.post(f"{CONVERSATIONS}/{conversation}/shares", json={"expires_in": 172_801})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "expires_in")
    assert "at most 172800" in refused.json()["error"]["message"]
    assert me.get("/v1/user/shares").json()["data"] == []
    longest = me.post(f"{CONVERSATIONS}/{conversation}/shares", json={}).json()
    assert (
        datetime.fromisoformat(longest["expires_at"]) - datetime.fromisoformat(longest["created_at"]) == TWO_DAYS
    )
    me.delete(f"/v1/user/shares/{longest['id']}").raise_for_status()
    made = share(me, conversation)
    later = now() + timedelta(seconds=3601)
    monkeypatch.setattr("jan.conversations.share_links.now", lambda: later)
    assert is_gone(server.client.post(READ, json={"secret": made["secret"]}))
    assert me.get("/v1/user/shares").json()["data"] == []


def test_its_owner_lists_and_revokes(server: ThreadServer, me: httpx.Client) -> None:
    """Without secrets, all of them or those of one conversation; somebody else finds none of it."""
    one, other = conversation_of(me, say("user", "x")), conversation_of(me, say("user", "y"))
    made = [share(me, one), share(me, other), share(me, one, include_later=True)]
    listed = me.get("/v1/user/shares").json()["data"]
    kept = [{name: v for name, v in share.items() if name not in ("secret", "fragment")} for share in made]
    assert sorted(listed, key=lambda one: one["id"]) == sorted(kept, key=lambda one: one["id"])
    of_one = me.get(f"{CONVERSATIONS}/{one}/shares").json()["data"]
    assert {share["conversation_id"] for share in of_one} == {one}
    stranger = server.connect(server.add_user())
    for answer in (
        stranger.get(f"{CONVERSATIONS}/{one}/shares"),
        stranger.post(f"{CONVERSATIONS}/{one}/shares", json={}),
        stranger.delete(f"/v1/user/shares/{made[0]['id']}"),
        me.post(f"{CONVERSATIONS}/{one}/shares", json={"message_id": made[0]["id"]}),
    ):
        assert answer.status_code == 404
    assert len(me.get("/v1/user/shares").json()["data"]) == 3
    acts = [(act["act"], act["target"]) for act in me.get("/v1/user/audit").json()["data"]]
    assert {("share.made", one["id"]) for one in made} <= set(acts)
    me.delete(f"/v1/user/shares/{made[0]['id']}").raise_for_status()
    [revoked] = me.get("/v1/user/audit?limit=1").json()["data"]
    assert (revoked["act"], revoked["target"]) == ("share.revoked", made[0]["id"])


def test_a_key_that_may_not_read_gives_nothing_away(server: ThreadServer, me: httpx.Client) -> None:
    """A link shows what its maker may read, so making one needs both permissions."""
    conversation = conversation_of(me, say("user", "x"))
    made = me.post("/v1/user/api-keys", json={"name": "writes", "permissions": ["write"]}).json()
    refused = server.connect(made["key"]).post(f"{CONVERSATIONS}/{conversation}/shares", json={})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "insufficient_permissions")


def test_sent_again_it_is_the_same_link(me: httpx.Client) -> None:
    """With an Idempotency-Key, one link is made, and its secret is answered again."""
    conversation = conversation_of(me, say("user", "x"))
    headers = {"Idempotency-Key": secrets.token_hex(16)}
    made = [me.post(f"{CONVERSATIONS}/{conversation}/shares", json={}, headers=headers).json() for _ in range(2)]
    assert made[0] == made[1]
    assert len(me.get("/v1/user/shares").json()["data"]) == 1


def test_links_are_off_by_default() -> None:
    """None is made, and none shows anything; those that are there are listed and revoked. The page learns it."""
    with served() as off:
        client = off.admin
        conversation = conversation_of(client, say("user", "x"))
        refused = client.post(f"{CONVERSATIONS}/{conversation}/shares", json={})
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "shares_off")
        assert "shares.enabled" in refused.json()["error"]["message"]
        assert is_gone(off.client.post(READ, json={"secret": "jans_" + "A" * 22}))
        assert client.get("/v1/user/shares").json()["data"] == []
        assert client.delete("/v1/user/shares/share_x").status_code == 404
        assert off.client.get("/v1/auth/session").json()["sharing"] is None


def test_links_that_were_made_before_show_nothing_once_they_are_off(
    server: ThreadServer, me: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a bound that was lowered counts for them too."""
    assert server.client.get("/v1/auth/session").json()["sharing"] == {"max_seconds": 172_800}
    made = share(me, conversation_of(me, say("user", "x")), expires_in=172_800)
    settings = server.application.services.shares._settings
    lower = type(settings)(enabled=True, max_days=1)
    monkeypatch.setattr(server.application.services.shares, "_settings", lower)
    [listed] = me.get("/v1/user/shares").json()["data"]
    assert listed["expires_at"] < made["expires_at"]
    assert texts(read(server, made["secret"])) == [["x"]]
    monkeypatch.setattr(server.application.services.shares, "_settings", type(settings)(enabled=False))
    assert is_gone(server.client.post(READ, json={"secret": made["secret"]}))


def test_the_secret_is_in_no_log_and_no_error(server: ThreadServer, me: httpx.Client) -> None:
    """Wherever a client puts it: into bodies that are wrong, into paths that are not there, into other fields."""
    made = share(me, conversation_of(me, say("user", "x")))
    secret = made["secret"]
    answers = [
        server.client.post(READ, json={"secret": secret}),
        server.client.post(READ, json={"secret": secret, "limit": "x"}),
        server.client.post(READ, json={"secret": [secret]}),
        server.client.post(READ, json={"secret": secret, "cursor": secret[:20]}),
        server.client.post(READ, content=f'{{"secret": "{secret}"'),
        server.client.get(f"{READ}/{secret}"),
        server.client.get(f"/share/{secret}"),
        server.client.get(f"{READ}?share={secret}"),
        me.get(f"/v1/user/shares/{secret}"),
        me.delete(f"/v1/user/shares/{secret}"),
    ]
    assert [answer.status_code for answer in answers] == [200, 400, 400, 400, 400, 404, 404, 405, 405, 404]
    assert [answer.text for answer in answers if secret[5:] in answer.text] == []
    assert secret[5:] not in str(server.log)
    assert secret not in repr(server.application.services.shares)
    assert secret not in me.get("/v1/user/shares").text + me.get("/v1/user/audit").text


def test_requests_for_links_are_counted_by_address() -> None:
    """Also those of somebody who is signed in: a link opens for anybody, and so does the limit."""
    config = "extends: default\nshares: {enabled: true}\nlimits: {anonymous: 3/hour}\nmodels: []\n"
    with served(config) as server:
        for client in (server.client, server.admin, server.client):
            assert is_gone(client.post(READ, json={"secret": "jans_x"}))
        refused = server.admin.post(READ, json={"secret": "jans_x"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
