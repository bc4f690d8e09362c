"""Reasoning is stored with its answer, shown by all APIs, and sent where a template wants it; on both stores."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support import templates
from support.conversation import CHAT, CONVERSATIONS, chat, messages_of, new_conversation

from jan.testing import ThreadServer, served

pytest.importorskip("cyllama")
pytestmark = pytest.mark.model

from support.tiny_gguf import write_tiny_gguf  # noqa: E402

THOUGHT = "<think>deep thought</think>said"


@pytest.fixture(scope="module")
def server(storage: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreadServer]:
    """A model that repeats its reasoning, and two whose templates show that of earlier turns, or do not."""
    folder = tmp_path_factory.mktemp("gguf")
    sources = {"shows": templates.MINIMAX, "hides": templates.PLAIN}
    files = {name: write_tiny_gguf(folder / f"{name}.gguf", {"default": text}) for name, text in sources.items()}
    tiny = "".join(
        f"- {{id: {name}, engine: llamacpp, load: lazy, options: {{model: {file}, threads: 1, slots: 1}}}}\n"
        for name, file in files.items()
    )
    with served(f"models:\n- {{id: echo, engine: echo, options: {{reasoning: auto}}}}\n{tiny}{storage}") as found:
        yield found


def test_all_apis_show_the_reasoning_of_a_chat(client: httpx.Client) -> None:
    made = new_conversation(client)
    answer = chat(client, made, THOUGHT, store=True).json()
    assert answer["choices"][0]["message"]["reasoning_content"] == "deep thought"
    [_, kept] = messages_of(client, made)
    assert (kept["content"], kept["reasoning_content"]) == ("said", "deep thought")
    [_, item, said] = client.get(f"{CONVERSATIONS}/{made}/items", params={"order": "asc"}).json()["data"]
    assert (item["type"], item["content"][0]["text"]) == ("reasoning", "deep thought")
    assert (said["type"], said["content"][0]["text"]) == ("message", "said")
    completion = client.get(f"{CHAT}/{answer['id']}").json()
    assert completion["choices"][0]["message"]["reasoning_content"] == "deep thought"
    response = client.get(f"/v1/responses/{answer['conversation']['message_id'].replace('msg_', 'resp_')}").json()
    assert [item["type"] for item in response["output"]] == ["reasoning", "message"]
    # A copy has it too.
    exported = client.get(f"{CONVERSATIONS}/{made}/export").content
    copied = client.post(f"{CONVERSATIONS}/import", content=exported).json()["id"]
    assert messages_of(client, copied)[1]["reasoning_content"] == "deep thought"


def test_reasoning_that_a_client_does_not_want_is_not_stored(client: httpx.Client) -> None:
    made = new_conversation(client)
    chat(client, made, THOUGHT, include_reasoning=False)
    assert "reasoning_content" not in messages_of(client, made)[1]


def sent(message: dict[str, Any]) -> dict[str, Any]:
    """A message of a conversation as a request has it."""
    return {name: message[name] for name in ("role", "content", "reasoning_content") if name in message}


@pytest.mark.parametrize("ask", ["chat", "responses"])
@pytest.mark.parametrize("model", ["shows", "hides"])
def test_a_template_gets_the_reasoning_if_it_wants_it(client: httpx.Client, model: str, ask: str) -> None:
    """The prompt is that of a request which sends all messages itself. What a template does not show was not sent
    by the client, and is not named as ignored."""
    made = new_conversation(client)
    chat(client, made, THOUGHT)
    messages = [*map(sent, messages_of(client, made)), {"role": "user", "content": "more"}]
    alone = client.post(CHAT, json={"model": model, "max_tokens": 1, "messages": messages}).json()["usage"]
    if ask == "chat":
        answer = chat(client, made, "more", model=model, max_tokens=1)
        tokens = answer.json()["usage"]["prompt_tokens"]
    else:
        body = {"model": model, "input": "more", "conversation": made}
        counted = client.post("/v1/responses/input_tokens", json=body).json()["input_tokens"]
        answer = client.post("/v1/responses", json={"max_output_tokens": 1, **body})
        tokens = answer.json()["usage"]["input_tokens"]
        assert counted == tokens
    assert tokens == alone["prompt_tokens"]
    assert "x-jan-ignored" not in answer.headers
    without = [{name: message[name] for name in ("role", "content")} for message in messages]
    other = client.post(CHAT, json={"model": model, "max_tokens": 1, "messages": without}).json()["usage"]
    assert (tokens > other["prompt_tokens"]) is (model == "shows")
