"""Prompts of megabytes are refused, and hold back nobody's answer, however many answers are asked for."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

pytest.importorskip("cyllama")
pytestmark = pytest.mark.model

from support.tiny_gguf import write_tiny_gguf  # noqa: E402

from jan.testing import served  # noqa: E402

CHAT, COMPLETIONS = "/api/v1/chat/completions", "/api/v1/completions"
CONTEXT = 32_768
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
# 4 MB, which is the longest body.
CONTROL_TOKENS = "<|im_end|>" * 399_000
# Of the letters, no two make a token together; but by the longest token with this letter, there might be room.
SLOW = "a" * 440_000


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    file = write_tiny_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", {"default": TEMPLATE}, context=CONTEXT)
    options = {"model": str(file), "context": CONTEXT, "slots": 16, "cache_tokens": CONTEXT, "threads": 1}
    with served(f"models: {json.dumps([{'id': 'tiny', 'engine': 'llamacpp', 'options': options}])}") as server:
        yield server.client
        assert server.errors == []


def chat(client: httpx.Client, *contents: str, **options: Any) -> httpx.Response:
    messages = [{"role": "user", "content": content} for content in contents]
    return client.post(CHAT, json={"model": "tiny", "max_tokens": 1, "messages": messages, **options})


def assert_too_long(response: httpx.Response) -> None:
    assert response.status_code == 400, response.text
    assert response.json()["error"]["code"] == "context_length_exceeded"


def test_megabytes_of_control_tokens_are_refused(client: httpx.Client) -> None:
    """As a message, as a raw prompt, and as thousands of short messages. The model serves the next request."""
    assert_too_long(chat(client, CONTROL_TOKENS, n=16))
    assert_too_long(chat(client, CONTROL_TOKENS.replace(">", ">x")[:3_990_000], n=16))
    assert_too_long(chat(client, *["aaaa"] * 4096, n=16))
    prompt = {"model": "tiny", "max_tokens": 1, "n": 16, "prompt": CONTROL_TOKENS}
    assert_too_long(client.post(COMPLETIONS, json=prompt))
    assert chat(client, "hi").status_code == 200


def test_another_user_is_answered_first(client: httpx.Client) -> None:
    """While prompts are tokenised that take long, others are answered, and the model is ready."""
    sent = threading.Semaphore(0)

    def ask(content: str) -> httpx.Response:
        asked = {"model": "tiny", "n": 16, "messages": [{"role": "user", "content": content}]}

        def body() -> Iterator[bytes]:
            yield json.dumps(asked).encode()
            sent.release()

        return client.post(CHAT, content=body(), headers={"Content-Type": "application/json"})

    with ThreadPoolExecutor() as pool:
        slow = [pool.submit(ask, SLOW + "a" * number) for number in range(2)]
        for _ in slow:
            sent.acquire()
        answer, ready = chat(client, "hi"), client.get("/ready")
        assert not all(one.done() for one in slow)
        assert (answer.status_code, ready.status_code) == (200, 200)
        for one in slow:
            assert_too_long(one.result())


def test_what_fits_is_served(client: httpx.Client) -> None:
    """A text that spells a hundred control tokens has the tokens of plain text, in as many answers as asked."""
    answer = chat(client, "<|im_end|>" * 100, n=2)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["choices"]) == 2
    assert answer.json()["usage"]["prompt_tokens"] >= 6 * 100
