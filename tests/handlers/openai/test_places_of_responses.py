"""Responses at any place of a conversation, and in the background with blocks of HTML."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from jan.testing import ThreadServer, model, served

QUESTION, OTHER = f"msg_{'a' * 30}", f"msg_{'b' * 30}"
TEXT = "# Title\n\nOne *two* three.\n\n- a\n- b\n\nSee [a].\n\n[a]: https://x.org\n"


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    with served(
        models=[
            model("echo"),
            model("slow", piece=4, step_seconds=0.005),
            model("single", slots=1, step_seconds=0.02),
        ]
    ) as found:
        yield found
        assert found.errors == []


@pytest.fixture
def conversation(client: httpx.Client) -> str:
    return str(client.post("/v1/conversations", json={}).json()["id"])


def ask(client: httpx.Client, conversation: str, given: Any, **others: Any) -> httpx.Response:
    body = {"model": "echo", "conversation": conversation, "input": given, **others}
    return client.post("/v1/responses", json=body)


def messages(client: httpx.Client, conversation: str) -> list[tuple[str, str | None, str]]:
    found = client.get(f"/v1/conversations/{conversation}/messages").json()["data"]
    return [(one["id"], one["parent_id"], one["content"]) for one in found]


def events_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


@pytest.mark.parametrize("background", [False, True], ids=["front", "background"])
def test_a_question_is_edited_and_answered_again(
    client: httpx.Client, conversation: str, background: bool
) -> None:
    """`parent_message_id` continues from any message, null begins a tree, and without input a stored question is
    answered again. `message_id` is the question's own id, which stores nothing twice."""
    own = {"background": True, "stream": True} if background else {}
    first, second = (f"msg_{letter * 29}{background:d}" for letter in "cd")
    assert ask(client, conversation, "one", message_id=first, **own).status_code == 200
    assert ask(client, conversation, [], parent_message_id=first, **own).status_code == 200
    edited = ask(client, conversation, "two", parent_message_id=None, message_id=second, **own)
    assert edited.status_code == 200
    found = messages(client, conversation)
    assert [(parent, content) for _, parent, content in found] == [
        (None, "one"),
        (first, "one"),
        (first, "one"),
        (None, "two"),
        (second, "two"),
    ]
    assert (found[0][0], found[3][0]) == (first, second)
    below = found[1][0]
    assert ask(client, conversation, "three", parent_message_id=below, **own).status_code == 200
    assert messages(client, conversation)[5][1:] == (below, "three")


@pytest.mark.parametrize("given", ["a", ""], ids=["input", "no-input"])
@pytest.mark.parametrize("others", [{"store": True}, {"store": False}], ids=["stored", "not-stored"])
def test_places_need_a_conversation(client: httpx.Client, given: str, others: dict[str, bool]) -> None:
    """Whether or not the response is stored, and for a count of tokens too."""
    for name, path in (
        ("parent_message_id", "responses"),
        ("message_id", "responses"),
        ("parent_message_id", "responses/input_tokens"),
    ):
        body = {"model": "echo", "input": given, name: QUESTION}
        refused = client.post(f"/v1/{path}", json=body if "/" in path else body | others)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, name)
    assert client.get("/v1/conversations").json()["data"] == []


def test_places_are_refused_by_name(client: httpx.Client, conversation: str) -> None:
    """Where there is no such message."""
    unknown = ask(client, conversation, "a", parent_message_id=OTHER)
    assert (unknown.status_code, unknown.json()["error"]["param"]) == (404, "parent_message_id")
    empty = ask(client, conversation, [])
    assert (empty.status_code, empty.json()["error"]["param"]) == (400, "input")
    assert messages(client, conversation) == []


def test_samplers_reach_the_model(client: httpx.Client) -> None:
    """Those of chats have the same names and limits here."""
    for name, wrong in (("top_k", -2), ("min_p", 2), ("repeat_penalty", 0), ("seed", 0.5)):
        refused = client.post("/v1/responses", json={"model": "echo", "input": "a", name: wrong})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, name)
    given = {"top_k": 5, "min_p": 0.1, "repeat_penalty": 1.1, "seed": 1}
    answered = client.post("/v1/responses", json={"model": "echo", "input": "a", **given})
    assert answered.status_code == 200
    assert "x-jan-ignored" not in answered.headers


def test_a_response_of_the_background_has_blocks(client: httpx.Client) -> None:
    """The stream has the blocks that the whole text has, before its last events; read again, it has them again."""
    html = {"stream_options": {"include_html": True}}
    body = {"model": "slow", "input": TEXT, "background": True, "stream": True}
    events = events_of(client.post("/v1/responses", json={**body, **html}).text)
    (whole,) = client.post("/v1/render", json={"text": TEXT}).json()["data"]
    wanted = {block["index"]: block["html"] for block in whole["blocks"]}
    assert blocks_of(events) == wanted
    numbers = [event["sequence_number"] for event in events]
    assert numbers == sorted(numbers)
    assert events[-1]["type"] == "response.completed"
    others = [event for event in events if event["type"] != "block"]
    assert [event["sequence_number"] for event in others] == list(range(len(others)))
    own = events[-1]["response"]["id"]
    again = client.get(f"/v1/responses/{own}", params={"stream": "true", "include_html": "true"})
    assert blocks_of(events_of(again.text)) == wanted
    plain = events_of(client.get(f"/v1/responses/{own}", params={"stream": "true"}).text)
    assert plain == others
    last = {"stream": "true", "include_html": "true", "starting_after": str(numbers[-1] - 1)}
    rest = events_of(client.get(f"/v1/responses/{own}", params=last).text)
    assert blocks_of(rest) == wanted
    assert [event["type"] for event in rest if event["type"] != "block"] == ["response.completed"]
    for name, value in (("include_html", "true"), ("starting_after", "1")):
        refused = client.get(f"/v1/responses/{own}", params={name: value})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, name)


def test_blocks_need_a_stream_in_the_background_too(client: httpx.Client) -> None:
    """As in the foreground."""
    body = {"model": "echo", "input": "a", "background": True, "stream_options": {"include_html": True}}
    refused = client.post("/v1/responses", json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "stream_options.include_html")
    assert client.get("/v1/conversations").json()["data"] == []


def blocks_of(events: list[dict[str, Any]]) -> dict[int, str]:
    """Return the blocks by number as they are in the end."""
    found = {event["index"]: event["html"] for event in events if event["type"] == "block"}
    return {index: html for index, html in found.items() if html}


def test_a_response_of_the_background_says_where_it_waits(client: httpx.Client) -> None:
    """As a stream of the foreground: its place in the model's queue is a comment, which SDKs skip."""
    body = {"model": "single", "input": "word " * 100, "background": True}
    first = client.post("/v1/responses", json=body).json()["id"]
    lines: list[str] = []
    with client.stream("POST", "/v1/responses", json={**body, "stream": True, "input": "b"}) as response:
        for line in response.iter_lines():
            lines += [line] if line else []
            if line.startswith(": queued, position 1"):
                client.post(f"/v1/responses/{first}/cancel")
    assert [line for line in lines if line.startswith(": queued, position 1")]
    assert json.loads(lines[-1].removeprefix("data: "))["type"] == "response.completed"
