"""Prompts counted without an answer: as many tokens as the usage of the answer then says."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.generated_conversations import Conversation
from support.server import MODEL

from jan.testing import served

MESSAGES = "/api/v1/messages"
RESPONSES = "/api/v1/responses"
MODELS = "models: [{id: caller, engine: echo, options: {tool_format: hermes, context: 100000}}]"
_BATCH = 50


@pytest.fixture(scope="module")
def caller() -> Iterator[httpx.Client]:
    with served(MODELS) as server, server.connect() as client:
        yield client


def sent(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, f"{path} {body}: {answer.text}"
    return answer.json()


def counted(client: httpx.Client, path: str, prompt: dict[str, Any]) -> int:
    """The tokens of a prompt, without an answer."""
    counter = "count_tokens" if path == MESSAGES else "input_tokens"
    tokens: int = sent(client, f"{path}/{counter}", prompt)["input_tokens"]
    return tokens


def read(client: httpx.Client, path: str, prompt: dict[str, Any]) -> int:
    """The tokens of a prompt, by the usage of an answer of one token."""
    limit = {"max_tokens": 1} if path == MESSAGES else {"max_output_tokens": 1, "store": False}
    tokens: int = sent(client, path, {**prompt, **limit})["usage"]["input_tokens"]
    return tokens


def prompts(number: int, model: str) -> dict[str, dict[str, Any]]:
    """A conversation, by the path of the API in whose form it is."""
    made = Conversation(number)
    return {MESSAGES: {"model": model, **made.as_messages()}, RESPONSES: {"model": model, **made.as_response()}}


@pytest.mark.parametrize("first", range(0, 200, _BATCH))
def test_a_count_is_what_the_usage_says(caller: httpx.Client, first: int) -> None:
    """Conversations of all lengths, with instructions, tools, calls, results and empty texts."""
    found = set()
    for number in range(first, first + _BATCH):
        for path, prompt in prompts(number, "caller").items():
            tokens = counted(caller, path, prompt)
            assert tokens == read(caller, path, prompt), f"conversation {number} over {path}: {prompt}"
            found.add(tokens)
    assert len(found) > _BATCH // 2


def shortest(count: int, *, called: bool) -> list[int]:
    """The numbers of the shortest conversations that have calls of tools, or that have no tools."""
    made = {number: Conversation(number) for number in range(200)}
    chosen = [n for n, one in made.items() if (one.calls > 0 if called else not one.tools)]
    return sorted(chosen, key=lambda n: len(json.dumps(made[n].as_messages())))[:count]


@pytest.mark.model
@pytest.mark.slow
def test_the_bundled_model_counts_its_own_tokens(model: httpx.Client) -> None:
    """A real vocabulary, and a template of which a part is only there with tools."""
    numbers = [*shortest(18, called=False), *shortest(2, called=True)]
    assert len(set(numbers)) == 20
    for number in numbers:
        made = prompts(number, MODEL)
        messages, response = (counted(model, path, prompt) for path, prompt in made.items())
        asked = (MESSAGES, RESPONSES)[number % 2]
        assert messages == response == read(model, asked, made[asked]) > 0
