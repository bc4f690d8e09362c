"""Searches through HTTP, on both backends."""

from typing import Any

import httpx
import pytest
from support.conversation import CHAT, CONVERSATIONS, append, new_conversation

SEARCH = "/api/v1/search"


def search(client: httpx.Client, query: str, **more: Any) -> dict[str, Any]:
    answer = client.get(SEARCH, params={"q": query, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_questions_answers_and_titles_are_found_at_once(me: httpx.Client, somebody: httpx.Client) -> None:
    """By their owner alone, with the place of the hit, as plain text."""
    ident = new_conversation(me, title="Café <b>notes</b>")
    question = append(me, ident, "Which <i>tomatoes</i> grow fast?")
    body = {"model": "echo", "conversation_id": ident, "messages": [{"role": "user", "content": "Tomatoes again"}]}
    me.post(CHAT, json=body).raise_for_status()
    found = search(me, "TOMATOES")
    assert (found["has_more"], found["indexing"], found["truncated"]) == (False, False, False)
    assert {hit["conversation_id"] for hit in found["data"]} == {ident}
    assert [hit["role"] for hit in found["data"]].count("assistant") == 1
    first = next(hit for hit in found["data"] if hit["message_id"] == question["id"])
    assert first["snippet"] == [
        {"text": "Which <i>", "hit": False},
        {"text": "tomatoes", "hit": True},
        {"text": "</i> grow fast?", "hit": False},
    ]
    [titled] = search(me, "cafe")["data"]
    assert (titled["message_id"], titled["role"], titled["title"]) == (None, None, "Café <b>notes</b>")
    assert search(somebody, "tomatoes")["data"] == []
    assert search(somebody, "cafe")["data"] == []
    me.delete(f"{CONVERSATIONS}/{ident}").raise_for_status()
    assert search(me, "tomatoes")["data"] == search(me, "cafe")["data"] == []


def test_answers_made_in_the_background_are_found(me: httpx.Client) -> None:
    """As the page asks for them."""
    body = {"model": "echo", "input": "A background pelican", "background": True, "stream": True}
    me.post("/api/v1/responses", json=body).raise_for_status()
    assert sorted(hit["role"] for hit in search(me, '"background pelican"')["data"] if hit["role"]) == [
        "assistant",
        "user",
    ]


def test_hits_page_without_gaps_or_duplicates(me: httpx.Client) -> None:
    """In the order of relevance, however many are asked for at a time."""
    ident = new_conversation(me)
    for number in range(7):
        append(me, ident, "plum " * (number % 3 + 1) + f"number {number}")
    whole = [hit["message_id"] for hit in search(me, "plum", limit=50)["data"] if hit["message_id"]]
    assert len(whole) == 7
    for limit in (1, 3, 8):
        seen: list[str] = []
        page = search(me, "plum", limit=limit)
        seen += [hit["message_id"] for hit in page["data"] if hit["message_id"]]
        while page["has_more"]:
            page = search(me, "plum", limit=limit, cursor=page["next_cursor"])
            seen += [hit["message_id"] for hit in page["data"] if hit["message_id"]]
        assert seen == whole


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"q": ""},
        {"q": ' "" '},
        {"q": "x" * 201},
        {"q": "a", "limit": "0"},
        {"q": "a", "limit": "51"},
        {"q": "a", "cursor": "x"},
        {"q": "a", "cursor": "1234567890.msg_1"},
        {"q": "a", "order": "asc"},
    ],
    ids=["none", "empty", "quotes", "long", "zero", "many", "cursor", "score", "unknown"],
)
def test_a_search_that_makes_no_sense_is_refused(me: httpx.Client, query: dict[str, str]) -> None:
    """And the error names what is wrong."""
    answer = me.get(SEARCH, params=query)
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["param"] in ("q", "limit", "cursor", "order")
