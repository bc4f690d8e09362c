"""Blocks of HTML in streams: `stream_options: {include_html: true}`."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from jan.testing import ThreadServer, model, served

CHAT = "/v1/chat/completions"
HTML = {"stream": True, "stream_options": {"include_html": True}}
TEXTS = {
    "prose": "# Title\n\nOne *two* three.\n\nFour 😀 five\nsix\n\n- a\n- b\n\n  c\n\nEnd",
    "code": "Text:\n\n```python\ndef f():\n\n    return 1\n```\n\nAfter it.\n",
    "table": "Text\n\n| a | b |\n|---|---|\n| c | d |\n\nAfter\n",
    "late target": "See [a].\n\nText\n\nMore\n\n[a]: https://x.org\n",
    "late note": "See[^a].\n\nText\n\n[^a]: Note\n",
    "fewer blocks": "Text\n\n$$ is\n\nno formula\n\n" + "it costs $$\n",
    "hostile": "<script>alert(1)</script>\n\n[a](javascript:b)\n\n<img src=x onerror=alert(1)>\n",
    "one line": "no end",
    "blank": " \n\n",
    "brackets": "a\n\n" + "[" * 500 + "\n\nb",
}


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    models = [model("echo", piece=4), model("slow", piece=3, step_seconds=0.002)]
    with served(models=models) as found:
        yield found
        assert found.errors == []


def frames_of(stream: str) -> list[dict[str, str]]:
    """The fields of each frame."""
    frames = [part for part in stream.split("\n\n") if part and not part.startswith(":")]
    lines = [[line.partition(": ") for line in frame.splitlines() if line[0] != ":"] for frame in frames]
    return [{name: value for name, _, value in frame} for frame in lines]


def events_of(client: httpx.Client, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    found = []
    for frame in frames_of(answer.text):
        if frame["data"] != "[DONE]":
            event = json.loads(frame["data"])
            assert (frame.get("event") == "block") == (event.get("type") == "block" or "block" in event)
            found.append(event | ({"number": int(frame["id"])} if "id" in frame else {}))
    return found


def rendered(client: httpx.Client, text: str) -> dict[int, str]:
    (one,) = client.post("/v1/render", json={"text": text}).json()["data"]
    return {block["index"]: block["html"] for block in one["blocks"]}


def shown(blocks: list[dict[str, Any]]) -> dict[int, str]:
    """What a page shows in the end: a later block takes the place of an earlier one, one without HTML goes."""
    page = {block["index"]: block["html"] for block in blocks}
    return {index: html for index, html in page.items() if html}


def asked(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "echo", "messages": [{"role": "user", "content": text}], **HTML, **fields}


@pytest.mark.parametrize("name", ["echo", "slow"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_the_blocks_of_a_stream_are_those_of_its_text(server: ThreadServer, text: str, name: str) -> None:
    events = events_of(server.client, CHAT, asked(text, model=name))
    assert [event["number"] for event in events] == list(range(1, len(events) + 1))
    so_far = ""
    for event in events:
        for choice in event["choices"]:
            so_far += choice["delta"].get("content") or ""
        if "block" in event:
            # A block is sent behind the text that it is made of, and before the end.
            assert event["block"]["end"] <= len(so_far.encode("utf-16-le")) // 2
            assert event["block"]["choice"] == 0
    assert so_far == text
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    assert shown([event["block"] for event in events if "block" in event]) == rendered(server.client, text)


def test_finished_blocks_come_while_the_answer_grows(server: ThreadServer) -> None:
    text = "# One\n\n" + "word " * 150 + "\n\nEnd"
    events = events_of(server.client, CHAT, asked(text, model="slow"))
    first = next(at for at, event in enumerate(events) if "block" in event)
    assert events[first]["block"]["index"] == 0
    assert any(choice["delta"].get("content") for event in events[first:] for choice in event["choices"])


def test_each_choice_has_blocks_of_its_own(server: ThreadServer) -> None:
    events = events_of(server.client, CHAT, asked("# A\n\nb\n", n=2))
    for choice in (0, 1):
        blocks = [event["block"] for event in events if "block" in event and event["block"]["choice"] == choice]
        assert shown(blocks) == rendered(server.client, "# A\n\nb\n")


@pytest.mark.parametrize("options", [None, {}, {"include_html": False}, {"include_html": None}])
def test_nobody_else_gets_blocks(server: ThreadServer, options: Any) -> None:
    events = events_of(server.client, CHAT, asked("# A\n\nb\n", stream_options=options))
    assert not any("block" in event for event in events)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_streamed_response_has_blocks(server: ThreadServer, text: str) -> None:
    events = events_of(server.client, "/v1/responses", {"model": "slow", "input": text, **HTML})
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    (item,) = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    blocks = [event for event in events if event["type"] == "block"]
    assert all(block["item_id"] == item["id"] and block["output_index"] == 0 for block in blocks)
    assert shown(blocks) == rendered(server.client, item["content"][0]["text"])
    assert events[-1]["type"] == "response.completed"


def test_an_interrupted_stream_resumes_with_its_blocks(server: ThreadServer) -> None:
    text = TEXTS["prose"] + "\n\n" + TEXTS["late note"]
    with server.client.stream("POST", CHAT, json=asked(text, model="slow", on_disconnect="finish")) as stream:
        received, lines = [], stream.iter_lines()
        while "event: block" not in received:
            received.append(next(lines))
        completion = next(json.loads(line[6:])["id"] for line in received if line.startswith("data: "))
    last = [int(line[4:]) for line in received if line.startswith("id: ")][-1]
    resumed = server.client.get(f"{CHAT}/{completion}/events", headers={"Last-Event-ID": str(last)})
    whole = server.client.get(f"{CHAT}/{completion}/events", headers={"Last-Event-ID": "0"}).text
    assert whole.endswith(resumed.text)
    events = [json.loads(frame["data"]) for frame in frames_of(whole) if frame["data"] != "[DONE]"]
    assert shown([event["block"] for event in events if "block" in event]) == rendered(server.client, text)


def test_an_sdk_reads_past_blocks(server: ThreadServer, sdk: openai.OpenAI) -> None:
    """It shows them as chunks without choices, like the one of token counts, and as events of another type."""
    text = TEXTS["prose"]
    options: Any = {"include_html": True, "include_usage": True}
    messages: Any = [{"role": "user", "content": text}]
    chunks = list(
        sdk.chat.completions.create(model="slow", messages=messages, stream=True, stream_options=options)
    )
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == text
    assert chunks[-1].usage is not None
    assert sum((chunk.model_extra or {}).get("block") is not None for chunk in chunks) >= 5
    with sdk.responses.create(model="slow", input=text, stream=True, extra_body=HTML) as events:
        kinds = [event.type for event in events]
    assert kinds.count("block") >= 5
    assert kinds[-1] == "response.completed"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (CHAT, asked("a", stream=False), "stream_options"),
        ("/v1/completions", {"model": "echo", "prompt": "a", **HTML}, "stream_options.include_html"),
        ("/v1/responses", {"model": "echo", "input": "a", **HTML, "stream": False}, "stream_options.include_html"),
    ],
)
def test_where_there_are_no_blocks_they_are_refused(
    server: ThreadServer, path: str, body: dict[str, Any], param: str
) -> None:
    answer = server.client.post(path, json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
