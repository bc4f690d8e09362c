"""Whose prompts a caller can find out about: by default, only their own."""

import secrets
from typing import Any

import httpx
import pytest
from support.server import MODEL

API = "/api/v1"
pytestmark = pytest.mark.model


def usage(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post(f"{API}{path}", json={"model": MODEL, "max_tokens": 1, **body})
    assert answer.status_code == 200, answer.text
    assert not [name for name in answer.headers if "cache" in name and name != "cache-control"]
    found: dict[str, Any] = answer.json()["usage"]
    return found


def cached(client: httpx.Client, path: str, body: dict[str, Any]) -> int:
    count: int = usage(client, path, body)["prompt_tokens_details"]["cached_tokens"]
    return count


@pytest.mark.parametrize("path", ["/completions", "/chat/completions"])
def test_a_secret_of_another_caller_can_not_be_guessed(
    model: httpx.Client, model_admin: httpx.Client, path: str
) -> None:
    """A known user's prompt is not found in the cache by a stranger, nor a stranger's by a known user. Each finds
    their own. What all chats begin with is shorter than 40 tokens."""
    text = f"{secrets.token_hex(4)} {'the override code is ' * 16}{secrets.randbelow(10**6)}"
    chats = path == "/chat/completions"
    body = {"messages": [{"role": "user", "content": text}]} if chats else {"prompt": text}
    assert cached(model_admin, path, body) < 40
    assert cached(model, path, body) < 40
    assert cached(model_admin, path, body) > 60
    assert cached(model, path, body) > 60


def test_scored_prompts_are_computed_whole(model: httpx.Client) -> None:
    """The log probabilities of a prompt's tokens say nothing about the cache."""
    body = {"prompt": f"{secrets.token_hex(4)} hears the heron", "prompt_logprobs": 1, "echo": True}
    assert [cached(model, "/completions", body) for _ in range(2)] == [0, 0]
