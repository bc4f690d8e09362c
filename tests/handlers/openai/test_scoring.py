"""POST /rerank and /score, and Ollama's vectors, over HTTP with the real all-MiniLM-L6-v2."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.documents import blocks_of
from support.minilm_reference import PASSAGES, QUERIES

from jan.testing import ThreadServer, served

pytest.importorskip("cyllama")
pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def server(minilm: Path) -> Iterator[ThreadServer]:
    models = f"""
models:
  - {{id: echo, engine: echo}}
  - {{id: minilm, aliases: [all-minilm-l6-v2], engine: llamacpp, options: {{model: {minilm}, threads: 1}}}}
"""
    with served(models) as found:
        yield found


@pytest.fixture
def client(server: ThreadServer) -> httpx.Client:
    return server.connect()


def post(client: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    answer = client.post(path, json={"model": "minilm", **body})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def refusal(client: httpx.Client, path: str, **body: Any) -> tuple[str, str]:
    answer = client.post(path, json={"model": "minilm", **body})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    return error["code"], error["param"]


def cosines(client: httpx.Client, query: str) -> list[float]:
    data = post(client, "/v1/embeddings", input=[query, *PASSAGES])["data"]
    one, *others = (entry["embedding"] for entry in data)
    return [sum(x * y for x, y in zip(one, other, strict=True)) for other in others]


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_documents_are_ordered_by_the_cosine(client: httpx.Client, path: str) -> None:
    found = post(client, path, query=QUERIES[0], documents=list(PASSAGES))
    wanted = cosines(client, QUERIES[0])
    assert found["scored_by"] == "cosine"
    assert found["results"][0]["index"] == 0
    assert found["results"][0]["document"] == {"text": PASSAGES[0]}
    scores = [one["relevance_score"] for one in found["results"]]
    assert scores == sorted(scores, reverse=True)
    assert [wanted[one["index"]] for one in found["results"]] == pytest.approx(scores, abs=1e-5)
    assert found["usage"]["total_tokens"] == found["usage"]["prompt_tokens"] > 0


def test_the_sample_of_the_documents_works(client: httpx.Client) -> None:
    [sample] = [text for kind, text in blocks_of("docs/embeddings.md") if kind == "sh"]
    body = json.loads(sample.partition("'")[2].rpartition("'")[0])
    [best] = post(client, "/v1/rerank", **body)["results"]
    assert best["document"] == {"text": "A cat sits here."}


def test_jinas_and_coheres_fields_are_taken(client: httpx.Client) -> None:
    documents = [{"text": text} for text in PASSAGES]
    found = post(client, "/rerank", query=QUERIES[1], documents=documents, top_n=2, return_documents=False)
    assert found["results"][0]["index"] == 1
    assert len(found["results"]) == 2
    assert found["results"][0]["document"] is None


@pytest.mark.parametrize("named", [{"model": "minilm"}, {}], ids=["model", "first-model"])
def test_clients_of_text_embeddings_inference_get_a_list(client: httpx.Client, named: dict[str, str]) -> None:
    body = {**named, "query": QUERIES[1], "texts": [*PASSAGES, "word " * 600], "truncate": True}
    answer = client.post("/rerank", json=body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found[0]["index"], len(found), set(found[0])) == (1, 8, {"index", "score"})
    assert found[0]["score"] == pytest.approx(cosines(client, QUERIES[1])[1], abs=1e-5)
    [first] = client.post("/rerank", json={**body, "return_text": True, "top_n": 1}).json()
    assert first["text"] == PASSAGES[1]


def test_texts_of_each_side_can_be_cut(client: httpx.Client) -> None:
    long = "good morning " + "word " * 600
    documents = [long, "good morning"]
    found = post(client, "/rerank", query=long, documents=documents, max_tokens_per_doc=2, max_tokens_per_query=5)
    assert found["usage"]["total_tokens"] == 7 + 4 + 4
    assert found["results"][0]["relevance_score"] == found["results"][1]["relevance_score"]
    assert refusal(client, "/rerank", query="a", documents=[long], max_tokens_per_doc=511) == (
        "context_length_exceeded",
        "documents[0]",
    )
    assert refusal(client, "/score", text_1="a", text_2="b", truncate_prompt_tokens=513)[1] == (
        "truncate_prompt_tokens"
    )


@pytest.mark.parametrize("path", ["/score", "/v1/score"])
def test_one_text_is_scored_with_each_and_lists_by_place(client: httpx.Client, path: str) -> None:
    one = post(client, path, text_1=QUERIES[0], text_2=list(PASSAGES))
    assert [entry["score"] for entry in one["data"]] == pytest.approx(cosines(client, QUERIES[0]), abs=1e-5)
    pairs = post(client, path, queries=list(QUERIES), documents=list(PASSAGES[:5]))
    assert [entry["index"] for entry in pairs["data"]] == [0, 1, 2, 3, 4]
    assert pairs["data"][2]["score"] == pytest.approx(cosines(client, QUERIES[2])[2], abs=1e-5)
    assert (pairs["scored_by"], pairs["object"], pairs["data"][0]["object"]) == ("cosine", "list", "score")
    [same] = post(client, path, data_1="a cat", data_2="a cat")["data"]
    assert same["score"] == pytest.approx(1)


def test_wrong_requests_are_refused_by_the_place(client: httpx.Client) -> None:
    assert refusal(client, "/rerank", query="", documents=["a"])[1] == "query"
    assert refusal(client, "/rerank", query="a", documents=[])[1] == "documents"
    assert refusal(client, "/rerank", query="a", documents=["a", ""])[1] == "documents[1]"
    assert refusal(client, "/rerank", query="a", documents=["a", "word " * 600]) == (
        "context_length_exceeded",
        "documents[1]",
    )
    assert post(client, "/rerank", query="a", documents=["word " * 600], truncate_prompt_tokens=-1)["results"]
    assert refusal(client, "/rerank", query="a", documents=["a"], rank_fields=["a"])[0] == "unsupported_parameter"
    assert refusal(client, "/rerank", query="a", documents=["a"], max_tokens_per_doc=-1)[1] == "max_tokens_per_doc"
    assert refusal(client, "/rerank", query="a")[1] == "documents"
    assert refusal(client, "/rerank", query="a", documents=["a"], texts=["a"])[1] == "texts"
    assert refusal(client, "/rerank", query="a", documents=["a"], raw_scores=True)[1] == "raw_scores"
    assert refusal(client, "/rerank", query="a", texts=[])[1] == "texts"
    assert refusal(client, "/rerank", query="a", texts=["a", "word " * 600])[1] == "texts[1]"
    assert refusal(client, "/rerank", model="echo", query="a", documents=["a"]) == ("model_cannot_embed", "model")
    assert refusal(client, "/score", text_1=["a", "b"], text_2=["a", "b", "c"])[1] == "text_1"
    assert refusal(client, "/score", text_1="a")[1] == "text_2"
    assert refusal(client, "/score", text_1="a", queries="b", text_2="c")[1] == "queries"


def test_ollamas_vectors_are_the_same(client: httpx.Client) -> None:
    wanted = [one["embedding"] for one in post(client, "/v1/embeddings", input=list(QUERIES))["data"]]
    found = post(client, "/api/embed", model="minilm:latest", input=list(QUERIES))
    assert (found["model"], len(found["embeddings"])) == ("minilm:latest", 5)
    assert found["prompt_eval_count"] > 20
    for ours, theirs in zip(found["embeddings"], wanted, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert post(client, "/api/embed", input=QUERIES[0])["embeddings"][0] == pytest.approx(wanted[0], abs=1e-5)
    old = post(client, "/api/embeddings", prompt=QUERIES[0])["embedding"]
    assert old == pytest.approx(wanted[0], abs=1e-5)
    assert math.hypot(*old) == pytest.approx(1)


def test_ollamas_texts_are_cut_unless_that_is_switched_off(client: httpx.Client) -> None:
    assert post(client, "/api/embed", input="word " * 600)["prompt_eval_count"] == 512
    answer = client.post("/api/embed", json={"model": "minilm", "input": "word " * 600, "truncate": False})
    assert answer.status_code == 400
    assert (answer.json()["code"], answer.json()["param"]) == ("context_length_exceeded", "input")


def test_ollamas_requests_without_texts_load_the_model(client: httpx.Client) -> None:
    assert post(client, "/api/embed", input=[])["embeddings"] == []
    assert post(client, "/api/embeddings", prompt="")["embedding"] == []


def test_what_ollama_has_and_nothing_here_uses_is_named(client: httpx.Client) -> None:
    body = {"model": "minilm", "input": "a", "keep_alive": "5m", "options": {"num_ctx": 9}}
    answer = client.post("/api/embed", json=body)
    assert set(answer.headers["x-jan-ignored"].split(", ")) == {"keep_alive", "options", "options.num_ctx"}
    shown = client.post("/api/show", json={"model": "minilm"}).json()
    assert shown["capabilities"] == ["embedding"]
    answer = client.post("/api/embed", json={"model": "echo", "input": "a"})
    assert (answer.status_code, answer.json()["code"]) == (400, "model_cannot_embed")
