"""Links to conversations on every store, from their making to their end."""

from typing import Any

import httpx
import pytest
from support.conversation import API, CONVERSATIONS, append, new_conversation


def read(client: httpx.Client, secret: str, **body: Any) -> httpx.Response:
    return client.post(f"{API}/shared", json={"secret": secret, **body})


@pytest.mark.parametrize("of_a_branch", [False, True], ids=["all branches", "one branch"])
def test_a_link_shows_what_was_there(me: httpx.Client, somebody: httpx.Client, of_a_branch: bool) -> None:
    """In pages, without what came later; the list has it until it is revoked, and then it shows nothing."""
    conversation = new_conversation(me, title="ours")
    for number in range(5):
        append(me, conversation, str(number))
    head = me.get(f"{CONVERSATIONS}/{conversation}").json()["head_id"]
    body = {"message_id": head} if of_a_branch else {}
    made = me.post(f"{CONVERSATIONS}/{conversation}/shares", json=body).raise_for_status().json()
    append(me, conversation, "later")
    first = read(somebody, made["secret"], limit=3).json()
    rest = read(somebody, made["secret"], limit=3, cursor=first["next_cursor"]).json()
    assert [message["texts"] for page in (first, rest) for message in page["data"]] == [[str(n)] for n in range(5)]
    assert (first["title"], rest["has_more"]) == ("ours", False)
    for path in (f"{CONVERSATIONS}/{conversation}/shares", f"{API}/user/shares"):
        assert [share["id"] for share in me.get(path).json()["data"]] == [made["id"]]
    assert somebody.delete(f"{API}/user/shares/{made['id']}").status_code == 404
    me.delete(f"{API}/user/shares/{made['id']}").raise_for_status()
    assert read(somebody, made["secret"]).status_code == 404
    assert me.get(f"{API}/user/shares").json()["data"] == []
