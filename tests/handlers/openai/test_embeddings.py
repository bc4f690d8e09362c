"""POST /embeddings over HTTP, with the real all-MiniLM-L6-v2."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy
import openai
import pytest
import support
from support.documents import blocks_of
from support.minilm_reference import PASSAGES, QUERIES, TEXTS

from jan.testing import ThreadServer, served

pytest.importorskip("cyllama")
pytestmark = pytest.mark.model

Array = Any
RECORDED: dict[str, str] = json.loads((Path(support.__file__).parent / "minilm_vectors.json").read_text())


@pytest.fixture(scope="module")
def server(minilm: Path) -> Iterator[ThreadServer]:
    models = f"""
models:
  - {{id: echo, engine: echo}}
  - id: minilm
    aliases: [text-embedding-3-small, all-minilm-l6-v2]
    engine: llamacpp
    options: {{model: {minilm}, slots: 2, threads: 1}}
  - {{id: cut, engine: llamacpp, options: {{model: {minilm}, matryoshka: [64, 128], context: 128, threads: 1}}}}
"""
    with served(models) as found:
        yield found


@pytest.fixture
def client(server: ThreadServer) -> httpx.Client:
    return server.connect()


def embed(client: httpx.Client, given: Any, **others: Any) -> dict[str, Any]:
    answer = client.post("/v1/embeddings", json={"model": "minilm", "input": given, **others})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def vectors(client: httpx.Client, given: Any, **others: Any) -> Array:
    return numpy.array([one["embedding"] for one in embed(client, given, **others)["data"]])


def recorded(*texts: str) -> Array:
    return numpy.array([numpy.frombuffer(base64.b64decode(RECORDED[text]), "<f4") for text in texts])


def refusal(client: httpx.Client, given: Any, **others: Any) -> tuple[str, str]:
    answer = client.post("/v1/embeddings", json={"model": "minilm", "input": given, **others})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    return error["code"], error["param"]


def test_a_text_becomes_a_vector_of_length_1(client: httpx.Client) -> None:
    found = embed(client, "The cat sits on the mat.")
    [one] = found["data"]
    assert (found["object"], one["object"], one["index"], found["model"]) == ("list", "embedding", 0, "minilm")
    assert len(one["embedding"]) == 384
    assert numpy.linalg.norm(one["embedding"]) == pytest.approx(1)
    assert found["usage"] == {"prompt_tokens": 9, "total_tokens": 9}


def test_vectors_are_those_of_sentence_transformers(client: httpx.Client) -> None:
    """Texts of all kinds, which are computed together."""
    ours = vectors(client, list(TEXTS))
    assert (ours * recorded(*TEXTS)).sum(1).min() >= 0.9999


def test_passages_are_found_in_the_same_order(client: httpx.Client) -> None:
    queries, passages = vectors(client, list(QUERIES)), vectors(client, list(PASSAGES))
    order = (queries @ passages.T).argsort(1)[:, ::-1]
    assert order[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert order.tolist() == (recorded(*QUERIES) @ recorded(*PASSAGES).T).argsort(1)[:, ::-1].tolist()


def test_a_text_has_the_same_vector_alone_and_among_others(client: httpx.Client) -> None:
    [alone] = vectors(client, QUERIES[0])
    for found in (vectors(client, [*PASSAGES, QUERIES[0]])[-1], vectors(client, [QUERIES[0]] * 70)[-1]):
        assert alone @ found == pytest.approx(1, abs=1e-6)


def test_base64_and_floats_are_the_same_numbers(client: httpx.Client) -> None:
    [text] = embed(client, "Hello, world!", encoding_format="base64")["data"]
    [numbers] = vectors(client, "Hello, world!", encoding_format="float")
    assert numpy.frombuffer(base64.b64decode(text["embedding"]), "<f4").tolist() == numbers.tolist()


def test_openais_client_reads_them(server: ThreadServer) -> None:
    """It asks for base64 unless told otherwise."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        ask = client.embeddings.create
        by_default = ask(model="text-embedding-3-small", input=["Hello, world!", "x"])
        floats = ask(model="minilm", input=["Hello, world!", "x"], encoding_format="float", user="u")
        with pytest.raises(openai.BadRequestError, match="embeds nothing") as refused:
            ask(model="echo", input="x")
    assert [one.embedding for one in by_default.data] == [one.embedding for one in floats.data]
    assert [one.index for one in by_default.data] == [0, 1]
    assert by_default.usage.total_tokens == 9
    assert refused.value.code == "model_cannot_embed"


def test_the_sample_of_the_documents_runs(server: ThreadServer, capsys: pytest.CaptureFixture[str]) -> None:
    [sample] = [text for kind, text in blocks_of("docs/embeddings.md") if kind == "python"]
    names: dict[str, Any] = {}
    sample = sample.replace("http://localhost:8080", server.url).replace("jan_...", server.admin_key)
    exec(compile(sample, "embeddings.md", "exec"), names)
    names["client"].close()
    assert capsys.readouterr().out == "2 16\n"


def test_the_list_of_models_says_that_it_embeds(client: httpx.Client) -> None:
    entry = client.get("/v1/models/minilm").json()
    assert (entry["modalities"]["output"], entry["dimensions"]) == (["embeddings"], 384)
    assert entry["context_length"] == 512


def test_the_model_is_healthy(server: ThreadServer) -> None:
    assert server.admin.get("/v1/status").json()["inference_model"] == "healthy"


def test_token_ids_are_taken_as_they_are(client: httpx.Client) -> None:
    tokens = [101, 7592, 1010, 2088, 999, 102]
    [text] = vectors(client, "Hello, world!")
    assert (vectors(client, tokens) @ text).tolist() == pytest.approx([1])
    assert (vectors(client, [tokens, tokens]) @ text).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize(
    ("given", "param"),
    [("", "input"), ([], "input"), (["a", ""], "input[1]"), ([[]], "input[0]"), (["a", 1], "input"),
     (["a", [1]], "input"), (["a"] * 2049, "input"), ([40_000], "input"), ([[1], [40_000]], "input[1]"),
     (None, "input"), ({}, "input"), ([-1], "input[0]")],
    ids=["empty", "no-text", "one-empty", "no-tokens", "text-and-token", "text-and-tokens", "too-many",
         "unknown-token", "one-unknown-token", "null", "object", "negative"],
)  # fmt: skip
def test_wrong_input_is_refused_by_its_place(client: httpx.Client, given: Any, param: str) -> None:
    assert refusal(client, given)[1] == param


def test_a_long_text_is_refused_by_its_place(client: httpx.Client) -> None:
    assert refusal(client, "word " * 600) == ("context_length_exceeded", "input")
    assert refusal(client, ["a", "word " * 600]) == ("context_length_exceeded", "input[1]")
    assert refusal(client, [["a"], [7592] * 600][1:]) == ("context_length_exceeded", "input[0]")
    assert embed(client, "word " * 510)["usage"]["prompt_tokens"] == 512


def test_a_long_text_can_be_cut(client: httpx.Client) -> None:
    text = "good morning " + "word " * 600
    whole = vectors(client, [text, "good morning " + "word " * 508], truncate_prompt_tokens=-1)
    assert whole[0] @ whole[1] == pytest.approx(1)
    last = vectors(client, [text, "word " * 7], truncate_prompt_tokens=9, truncation_side="left")
    assert last[0] @ last[1] == pytest.approx(1)
    assert embed(client, text, truncate_prompt_tokens=9)["usage"]["prompt_tokens"] == 9
    assert refusal(client, "a", truncate_prompt_tokens=513)[1] == "truncate_prompt_tokens"
    assert refusal(client, "a", truncate_prompt_tokens=0)[1] == "truncate_prompt_tokens"


def test_vectors_are_cut_where_the_model_allows_it(client: httpx.Client) -> None:
    [whole], [part] = vectors(client, "a cat", model="cut"), vectors(client, "a cat", model="cut", dimensions=64)
    assert part.tolist() == pytest.approx((whole[:64] / numpy.linalg.norm(whole[:64])).tolist(), abs=1e-6)
    assert vectors(client, "a cat", dimensions=384).shape == (1, 384)
    answer = client.post("/v1/embeddings", json={"model": "cut", "input": "a", "dimensions": 65})
    assert answer.json()["error"]["param"] == "dimensions"
    assert "allowed: 64, 128, 384" in answer.json()["error"]["message"]
    assert refusal(client, "a", dimensions=64)[1] == "dimensions"


def test_a_spelled_control_token_is_text(client: httpx.Client) -> None:
    assert embed(client, "a [SEP] b")["usage"]["prompt_tokens"] == len(
        ["[CLS]", "a", "[", "sep", "]", "b", "[SEP]"]
    )


def test_a_word_of_more_than_100_characters_is_unknown(client: httpx.Client) -> None:
    """As BERT's own tokenizer has it, however long the word is."""
    for length in (101, 1_000_000):
        assert embed(client, f"a {'x' * length} b")["usage"]["prompt_tokens"] == 5
    assert embed(client, "a " + "x" * 100)["usage"]["prompt_tokens"] > 4


@pytest.mark.parametrize("path", ["chat/completions", "completions", "responses", "messages"])
def test_a_model_that_embeds_generates_nothing(client: httpx.Client, path: str) -> None:
    says = {"messages": [{"role": "user", "content": "hi"}]}
    bodies = {"completions": {"prompt": "hi"}, "responses": {"input": "hi"}, "messages": {**says, "max_tokens": 9}}
    answer = client.post(f"/v1/{path}", json={"model": "minilm", **bodies.get(path, says)})
    assert answer.status_code == 400
    assert "generates nothing" in answer.json()["error"]["message"]
    if path != "messages":
        assert answer.json()["error"]["code"] == "model_cannot_generate"


def test_many_requests_at_once_have_their_turns(client: httpx.Client) -> None:
    """More than there are slots, one of them long."""
    with ThreadPoolExecutor(12) as pool:
        long = pool.submit(vectors, client, [f"number {at}" for at in range(300)])
        short = list(pool.map(lambda text: vectors(client, text)[0], TEXTS[:11]))
    assert (numpy.array(short) * recorded(*TEXTS[:11])).sum(1).min() >= 0.9999
    assert long.result().shape == (300, 384)
