"""POST /embeddings on a deterministic model: what holds whatever computes the vectors."""

import base64
import math
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from jan.handler import EmbeddingPrompt, Hook, HookContext, ModelRequest, PermissionDenied
from jan.testing import ThreadServer, served

SETTINGS = """
limits: {user: {tokens_per_day: 100}, authenticated: off, inference: off}
models:
  - {id: words, engine: echo, options: {dimensions: 32, context: 50, slots: 3}}
"""


class ReadsTexts(Hook):
    """Refuses a word in texts that are embedded."""

    def before(self, context: HookContext, request: ModelRequest) -> None:
        [sequence] = request.sequences
        assert context.api == "openai.embeddings"
        assert isinstance(sequence.prompt, EmbeddingPrompt)
        if "forbidden" in sequence.prompt.inputs:
            raise PermissionDenied("Not this word.")


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    with served(SETTINGS, hooks=[ReadsTexts]) as found:
        yield found


@pytest.fixture
def client(server: ThreadServer) -> httpx.Client:
    return server.connect(server.add_user())


def ask(client: httpx.Client, given: Any, **others: Any) -> httpx.Response:
    return client.post("/v1/embeddings", json={"model": "words", "input": given, **others})


def used(client: httpx.Client) -> int:
    limits = client.get("/v1/usage").json()["limits"]
    return next(one["limit"] - one["remaining"] for one in limits if one["name"] == "user_tokens_per_day")


def test_like_texts_have_near_vectors(client: httpx.Client) -> None:
    one, same, other = [
        found["embedding"] for found in ask(client, ["a red cat", "A cat red", "nine blue houses"]).json()["data"]
    ]
    near, far = (sum(x * y for x, y in zip(one, found, strict=True)) for found in (same, other))
    assert near > 0.99 > far
    [text] = ask(client, "a red cat", encoding_format="base64").json()["data"]
    assert list(struct.unpack("<32f", base64.b64decode(text["embedding"]))) == one


def test_tokens_are_counted_reported_and_limited(client: httpx.Client) -> None:
    answer = ask(client, ["one two three", "four"])
    assert answer.json()["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    assert used(client) == 4
    assert client.get("/v1/usage").json()["totals"]["prompt_tokens"] == 4
    refused = ask(client, ["a " * 49, "b " * 49])
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert ask(client, "a " * 51).json()["error"]["code"] == "context_length_exceeded"
    assert used(client) == 4


def test_a_budget_is_never_exceeded_by_many_at_once(client: httpx.Client) -> None:
    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(lambda at: ask(client, f"{at} two three four five six").status_code, range(30)))
    assert set(statuses) == {200, 429}
    assert used(client) == 6 * statuses.count(200) <= 100


def test_hooks_see_the_texts(client: httpx.Client) -> None:
    assert ask(client, ["fine", "forbidden"]).status_code == 403


def test_texts_are_cut_and_vectors_shortened(client: httpx.Client) -> None:
    first = ask(client, "one " + "x " * 60, truncate_prompt_tokens=1).json()
    assert first["usage"]["prompt_tokens"] == 1
    assert first["data"][0]["embedding"] == ask(client, "one").json()["data"][0]["embedding"]
    short = ask(client, "a b c d e f g h i", dimensions=7).json()["data"][0]["embedding"]
    assert math.hypot(*short) == pytest.approx(1)
    assert len(short) == 7
    assert ask(client, "a", dimensions=33).json()["error"]["message"].endswith("allowed: 1 to 32.")


@pytest.mark.parametrize(
    ("others", "param"),
    [
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"messages": [{"role": "user", "content": "hi"}]}, "messages"),
        ({"embed_dtype": "float16"}, "embed_dtype"),
        ({"model": None}, "model"),
    ],
    ids=["format", "dimensions", "messages", "dtype", "model"],
)
def test_a_wrong_parameter_is_named(client: httpx.Client, others: dict[str, Any], param: str) -> None:
    answer = ask(client, "a", **others)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_an_unknown_parameter_is_reported(client: httpx.Client) -> None:
    answer = ask(client, "a", embed_dtype="float32", input_type="query")
    assert answer.status_code == 200
    assert answer.headers["x-jan-ignored"] == "input_type"
