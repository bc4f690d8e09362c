"""Blocks of HTML of responses that are made in the background, live and told again."""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest

from jan.testing import ThreadServer, model, served

RESPONSES = "/v1/responses"
HTML = {"background": True, "stream": True, "stream_options": {"include_html": True}}
TEXT = "# Title\n\nSee [a] and one[^b].\n\n- c\n- d\n\n```\ne\n```\n\n[a]: https://x.org\n[^b]: Note\n\nEnd"


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    with served(models=[model("slow", piece=3, step_seconds=0.01)]) as found:
        yield found
        assert found.errors == []


def events_of(stream: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: ")]


def shown(events: list[dict[str, Any]]) -> list[str]:
    """What a page shows in the end."""
    page = {event["index"]: event["html"] for event in events if event["type"] == "block"}
    return [html for _, html in sorted(page.items()) if html]


def rendered(client: httpx.Client, text: str) -> list[str]:
    (one,) = client.post("/v1/render", json={"text": text}).json()["data"]
    return [block["html"] for block in one["blocks"]]


def test_blocks_come_live_and_again_with_the_numbers_of_the_events_before(
    server: ThreadServer, client: httpx.Client
) -> None:
    live = events_of(client.post(RESPONSES, json={"model": "slow", "input": TEXT, **HTML}).text)
    assert shown(live) == rendered(client, TEXT)
    assert live[-1]["type"] == "response.completed"
    numbers = [(one["sequence_number"], later) for one, later in pairwise(live) if later["type"] == "block"]
    assert all(number == block["sequence_number"] for number, block in numbers)
    # The first block does not wait for the last text.
    first = next(at for at, event in enumerate(live) if event["type"] == "block")
    assert any(event["type"] == "response.output_text.delta" for event in live[first:])
    path = f"{RESPONSES}/{live[0]['response']['id']}"
    plain = events_of(client.get(path, params={"stream": "true"}).text)
    assert plain == [event for event in live if event["type"] != "block"]
    resumed = events_of(
        client.get(path, params={"stream": "true", "starting_after": 5, "include_html": "true"}).text
    )
    assert shown(resumed) == rendered(client, TEXT)
    numbered = [event for event in resumed if event["type"] != "block"]
    assert numbered == plain[6:]


def test_blocks_are_refused_without_a_stream(server: ThreadServer, client: httpx.Client) -> None:
    asked = {"model": "slow", "input": "a", **HTML, "stream": False}
    answer = client.post(RESPONSES, json=asked)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "stream_options.include_html")
    made = client.post(RESPONSES, json={"model": "slow", "input": "a"}).json()
    answer = client.get(f"{RESPONSES}/{made['id']}", params={"include_html": "true"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "include_html")
