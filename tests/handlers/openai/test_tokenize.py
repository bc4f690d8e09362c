"""POST /tokenize and /detokenize, GET /tokenizer_info, POST /chat/completions/render over HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from jan.testing import ThreadServer, served

pytest.importorskip("cyllama")
pytestmark = pytest.mark.model

CHAT = [{"role": "user", "content": "Hi there!"}]
TEXT = "What is the capital of France ? \u5abd \U0001f917"
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def server(minilm: Path) -> Iterator[ThreadServer]:
    models = f"""
models:
  - {{id: smol, engine: llamacpp, options: {{model: bundled, context: 256, slots: 1, threads: 1}}}}
  - {{id: echo, engine: echo}}
  - {{id: minilm, engine: llamacpp, options: {{model: {minilm}, threads: 1}}}}
"""
    with served(models) as found:
        yield found


@pytest.fixture
def client(server: ThreadServer) -> httpx.Client:
    return server.connect()


def post(client: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def refusal(client: httpx.Client, path: str, **body: Any) -> str:
    answer = client.post(path, json=body)
    assert answer.status_code == 400, answer.text
    return str(answer.json()["error"]["param"])


@pytest.mark.parametrize("root", ["", "/v1", "/api/v1"])
def test_tokens_become_the_same_text_again(client: httpx.Client, root: str) -> None:
    """vLLM's form, of the model that the request names."""
    found = post(client, f"{root}/tokenize", model="smol", prompt=TEXT)
    assert (found["count"], found["max_model_len"], found["token_strs"]) == (len(found["tokens"]), 256, None)
    assert post(client, f"{root}/detokenize", model="smol", tokens=found["tokens"]) == {"prompt": TEXT}


def test_llama_servers_form_works_too(client: httpx.Client) -> None:
    """Without a model the first one is asked."""
    found = post(client, "/tokenize", content=TEXT)
    assert post(client, "/detokenize", tokens=found["tokens"])["content"] == TEXT
    pieces = post(client, "/tokenize", content=TEXT, with_pieces=True)["tokens"]
    assert [one["id"] for one in pieces] == found["tokens"]
    assert all(one["piece"] for one in pieces)


def test_tokens_are_spelled_as_in_the_vocabulary(client: httpx.Client) -> None:
    found = post(client, "/tokenize", model="smol", prompt="This is a test", return_token_strs=True)
    assert found["token_strs"] == ["This", "\u0120is", "\u0120a", "\u0120test"]
    found = post(client, "/tokenize", model="echo", prompt="This is a test", return_token_strs=True)
    assert found["token_strs"] == ["This ", "is ", "a ", "test"]
    assert len(set(found["tokens"])) == 4


def test_special_tokens_are_added_or_not(client: httpx.Client) -> None:
    found = post(client, "/tokenize", model="minilm", prompt="hello world")
    assert found["tokens"] == [101, 7592, 2088, 102]
    assert post(client, "/tokenize", model="minilm", content="hello world")["tokens"] == [7592, 2088]
    bare = post(client, "/tokenize", model="minilm", prompt="hello world", add_special_tokens=False)
    assert bare["tokens"] == [7592, 2088]
    assert post(client, "/tokenize", model="minilm", content="hello", add_special=True)["count"] == 3


@pytest.mark.parametrize("model", ["smol", "echo"])
@pytest.mark.parametrize("more", [{}, {"tools": [TOOL]}, {"add_generation_prompt": False}], ids=str)
def test_a_chat_is_what_the_model_gets(client: httpx.Client, model: str, more: dict[str, Any]) -> None:
    """As many tokens as the usage of its answer says; the rendered prompt has the same."""
    body = {"model": model, "messages": CHAT, **more}
    found = post(client, "/tokenize", **body)
    rendered = post(client, "/v1/chat/completions/render", **body)
    assert rendered["token_ids"] == found["tokens"]
    assert rendered["count"] == found["count"]
    assert "Hi there!" in rendered["prompt"]
    usage = post(client, "/v1/chat/completions", max_tokens=1, **body)["usage"]
    assert usage["prompt_tokens"] == found["count"]


def test_a_chat_can_be_continued(client: httpx.Client) -> None:
    chat = [*CHAT, {"role": "assistant", "content": "Sure,"}]
    body = {"model": "smol", "messages": chat, "continue_final_message": True}
    assert post(client, "/v1/chat/completions/render", **body)["prompt"].endswith("Sure,")
    assert refusal(client, "/tokenize", **body, add_generation_prompt=True) == "continue_final_message"


def test_no_context_limits_what_is_only_tokenised(client: httpx.Client) -> None:
    """A long list, which is encoded in pieces, is whole."""
    text = "word " * 20_000
    found = post(client, "/tokenize", model="smol", content=text, return_token_strs=True)
    assert found["count"] == len(found["tokens"]) == len(found["token_strs"]) > 20_000
    assert post(client, "/detokenize", tokens=found["tokens"])["content"] == text
    pieces = post(client, "/tokenize", model="echo", content=text, with_pieces=True)["tokens"]
    assert "".join(one["piece"] for one in pieces) == text


@pytest.mark.parametrize("model", ["smol", "echo"])
def test_more_tokens_than_a_request_may_name_are_not_shown(client: httpx.Client, model: str) -> None:
    """A small body must not make a large answer: 1,048,576 tokens at most."""
    text = "1 " * (2**20 + 1)
    for path, body in [
        ("/tokenize", {"prompt": text}),
        ("/v1/chat/completions/render", {"messages": chat_of(text)}),
    ]:
        answer = client.post(path, json={"model": model, **body})
        assert answer.status_code == 400, answer.text[:500]
        assert "allowed: 1048576." in answer.json()["error"]["message"]


def chat_of(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_the_tokenizer_is_described(client: httpx.Client) -> None:
    found = client.get("/tokenizer_info").json()
    assert (found["tokenizer_class"], found["eos_token"]) == ("BPE", "<|im_end|>")
    assert "<|im_start|>" in found["chat_template"]
    [token] = post(client, "/tokenize", prompt=found["eos_token"], add_special_tokens=False)["tokens"]
    assert post(client, "/detokenize", tokens=[token])["prompt"] == "<|im_end|>"
    assert client.get("/v1/tokenizer_info", params={"model": "minilm"}).json()["vocab_size"] == 30522
    assert client.get("/tokenizer_info", params={"model": "echo"}).json()["tokenizer_class"] == "words"
    assert client.get("/tokenizer_info", params={"model": "nobody"}).status_code == 404


def test_wrong_requests_are_refused_by_name(client: httpx.Client) -> None:
    assert refusal(client, "/tokenize", model="smol") == "prompt"
    assert refusal(client, "/tokenize", prompt="a", messages=CHAT) == "messages"
    assert refusal(client, "/tokenize", prompt="a", chat_template="{{ 1 }}") == "chat_template"
    assert refusal(client, "/tokenize", model="minilm", messages=CHAT) == "model"
    assert refusal(client, "/detokenize", model="smol", tokens=[1, 10**6]) == "tokens[1]"
    assert refusal(client, "/detokenize", model="smol", tokens=[-1]) == "tokens[0]"
    assert refusal(client, "/detokenize", model="echo", tokens=[1]) == "tokens"
    assert refusal(client, "/v1/chat/completions/render", model="smol", messages=CHAT, conversation_id="c") == (
        "conversation_id"
    )
    for model in ("smol", "echo"):
        assert refusal(client, "/v1/chat/completions/render", model=model, messages=[]) == "messages"
        assert refusal(client, "/tokenize", model=model, messages=[]) == "messages"
    assert client.post("/tokenize", json={"model": "nobody", "prompt": "a"}).status_code == 404
