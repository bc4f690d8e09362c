"""POST /rerank and /score over HTTP with cross-encoders of random weights, against transformers' own logits."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
import support
from support.cross_encoders import PAIRS, Kind, write_cross_encoder
from support.server import ROOT

from jan.handler import Hook, HookContext, ModelRequest, PairPrompt, PermissionDenied
from jan.testing import ThreadServer, served

pytest.importorskip("cyllama")
pytestmark = pytest.mark.model

KINDS: tuple[Kind, ...] = get_args(Kind)
RECORDED: dict[str, list[dict[str, float]]] = json.loads(
    (Path(support.__file__).parent / "cross_encoder_logits.json").read_text()
)
# llama.cpp reads GELU from a table of float16.
NEAR = 0.01
ONES, OTHERS = [one for one, _ in PAIRS], [other for _, other in PAIRS]


class ReadsPairs(Hook):
    """Refuses a word in texts that are scored."""

    def before(self, context: HookContext, request: ModelRequest) -> None:
        [sequence] = request.sequences
        if isinstance(sequence.prompt, PairPrompt) and "forbidden" in sequence.prompt.others:
            raise PermissionDenied("Not this word.")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Iterator[ThreadServer]:
    folder = tmp_path_factory.mktemp("cross-encoders")
    files = {kind: write_cross_encoder(folder / f"{kind}.gguf", kind) for kind in KINDS}
    models = "models:\n  - {id: echo, engine: echo}\n" + "".join(
        f"  - {{id: {name}, engine: llamacpp, options: {{model: {file}, slots: 2, threads: 1}}}}\n"
        for name, file in {**files, "minilm": minilm}.items()
    )
    with served(models, hooks=[ReadsPairs]) as found:
        yield found


@pytest.fixture
def client(server: ThreadServer) -> httpx.Client:
    return server.connect()


def post(client: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    answer = client.post(path, json={"model": "xlm-roberta", **body})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def logits(client: httpx.Client, one: str | list[str], other: str | list[str], **others: Any) -> list[float]:
    found = post(client, "/score", text_1=one, text_2=other, use_activation=False, **others)
    return [entry["score"] for entry in found["data"]]


def tokens(client: httpx.Client, one: str, other: str, **others: Any) -> int:
    return int(post(client, "/score", text_1=one, text_2=other, **others)["usage"]["total_tokens"])


def refusal(client: httpx.Client, path: str, **body: Any) -> tuple[str, str]:
    answer = client.post(path, json={"model": "xlm-roberta", **body})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    return error["code"], error["param"]


@pytest.mark.parametrize("kind", KINDS)
def test_logits_and_tokens_are_those_of_transformers(client: httpx.Client, kind: Kind) -> None:
    """Pairs of all lengths, which are computed together."""
    wanted = RECORDED[kind]
    found = post(client, "/v1/score", model=kind, text_1=ONES, text_2=OTHERS, use_activation=False)
    assert [entry["score"] for entry in found["data"]] == pytest.approx([one["logit"] for one in wanted], abs=NEAR)
    assert found["scored_by"] == "cross_encoder"
    tokens = sum(one["tokens"] for one in wanted)
    assert found["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    for at in (0, 4):
        [alone] = post(client, "/score", model=kind, text_1=ONES[at], text_2=OTHERS[at])["data"]
        assert alone["score"] == pytest.approx(1 / (1 + math.exp(-wanted[at]["logit"])), abs=NEAR)


@pytest.mark.heavy
def test_transformers_gives_the_recorded_logits(install_once: Callable[..., Path]) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    pip = f"{sys.executable} -m pip install --quiet --no-compile --target ."
    folder = install_once("transformers-5.24.0", "sh", "-c", f"{pip} transformers==5.24.0")
    program = ROOT / "tests" / "support" / "cross_encoder_reference.py"
    # Behind the packages that torch belongs to.
    paths = f"import runpy, sys; sys.path.append({str(folder)!r})"
    start = f"{paths}; runpy.run_path({str(program)!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", start],
        capture_output=True,
        text=True,
        timeout=240,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "tests"), "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    for kind, found in json.loads(done.stdout).items():
        assert [one["tokens"] for one in found] == [one["tokens"] for one in RECORDED[kind]]
        assert [one["logit"] for one in found] == pytest.approx([one["logit"] for one in RECORDED[kind]], abs=1e-4)


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_documents_are_ordered_by_the_score(client: httpx.Client, path: str) -> None:
    scores = logits(client, "where is the cat", OTHERS)
    found = post(client, path, query="where is the cat", documents=OTHERS, top_n=3)
    order = sorted(range(len(OTHERS)), key=lambda at: -scores[at])[:3]
    assert [one["index"] for one in found["results"]] == order
    assert found["results"][0]["document"] == {"text": OTHERS[order[0]]}
    assert found["scored_by"] == "cross_encoder"
    assert all(0 < one["relevance_score"] < 1 for one in found["results"])
    bare = post(client, path, query="where is the cat", documents=OTHERS, activation=False)
    assert [one["relevance_score"] for one in bare["results"]] == sorted(scores, reverse=True)


def test_clients_of_text_embeddings_inference_get_a_list(client: httpx.Client) -> None:
    """They name no model, and the first cross-encoder answers."""
    wanted = {
        one["index"]: one["score"]
        for one in post(client, "/score", model="bert", text_1="cat", text_2=OTHERS)["data"]
    }
    found = client.post("/rerank", json={"query": "cat", "texts": OTHERS}).json()
    assert {one["index"]: one["score"] for one in found} == wanted
    raw = client.post("/rerank", json={"query": "cat", "texts": OTHERS, "raw_scores": True}).json()
    assert [one["score"] for one in raw] == sorted(logits(client, "cat", OTHERS, model="bert"), reverse=True)


def test_a_pair_is_no_pair_of_vectors(client: httpx.Client) -> None:
    """The order of both texts matters, and a text has no greatest score with itself."""
    [one], [turned] = logits(client, "a cat", "the king"), logits(client, "the king", "a cat")
    assert one != pytest.approx(turned, abs=NEAR)


def test_many_requests_at_once_have_their_turns(client: httpx.Client) -> None:
    """More than there are slots, one of them of more pairs than a step computes."""
    wanted = [one["logit"] for one in RECORDED["xlm-roberta"]]
    with ThreadPoolExecutor(9) as pool:
        long = pool.submit(logits, client, "where is the cat", ["rain falls", "the cat is on the mat."] * 100)
        short = list(pool.map(lambda at: logits(client, ONES[at], OTHERS[at])[0], range(len(PAIRS))))
    assert short == pytest.approx(wanted, abs=NEAR)
    assert long.result() == pytest.approx([wanted[1], wanted[0]] * 100, abs=NEAR)


def test_pairs_that_are_too_long_are_refused_by_the_place_or_cut(client: httpx.Client) -> None:
    long = "and " * 95
    assert refusal(client, "/rerank", query="cat", documents=["a", long]) == (
        "context_length_exceeded",
        "documents[1]",
    )
    assert refusal(client, "/score", text_1=["a", long], text_2=["b", "cat"])[1] == "text_1[1]"
    half = "and " * 48
    assert refusal(client, "/score", text_1=half, text_2=["b", half])[1] == "text_2[1]"
    assert tokens(client, half, half, truncate_prompt_tokens=-1) == 96
    cut = logits(client, "cat", "the cat is on the mat.", truncate_prompt_tokens=8)
    assert cut == logits(client, "cat", "the cat is")
    assert tokens(client, "cat", long, truncate_prompt_tokens=4) == 4
    assert (
        refusal(client, "/score", text_1="a", text_2="b", truncate_prompt_tokens=97)[1] == "truncate_prompt_tokens"
    )
    assert tokens(client, "cat cat", long, max_tokens_per_query=1, max_tokens_per_doc=3) == 4 + 1 + 3
    whole = refusal(client, "/score", text_1="cat", text_2=long, max_tokens_per_doc=93)
    assert whole == ("context_length_exceeded", "text_2")


def test_a_spelled_special_token_is_text(client: httpx.Client) -> None:
    assert tokens(client, "cat", "</s>") == tokens(client, "cat", "a") + 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_cross_encoder_neither_embeds_nor_generates(client: httpx.Client, kind: Kind) -> None:
    says = [{"role": "user", "content": "hi"}]
    embedded = client.post("/v1/embeddings", json={"model": kind, "input": "cat"}).json()["error"]
    assert (embedded["code"], embedded["param"]) == ("model_cannot_embed", "model")
    assert "Use /rerank or /score" in embedded["message"]
    assert refusal(client, "/v1/chat/completions", model=kind, messages=says)[0] == "model_cannot_generate"
    assert refusal(client, "/v1/completions", model=kind, prompt="hi")[0] == "model_cannot_generate"
    assert client.post("/api/embed", json={"model": kind, "input": "a"}).json()["code"] == "model_cannot_embed"
    assert client.get(f"/v1/models/{kind}").json()["modalities"]["output"] == ["scores"]
    assert client.post("/api/show", json={"model": kind}).json()["capabilities"] == []
    assert client.post("/tokenize", json={"model": kind, "prompt": "the cat"}).json()["count"] == 4


def test_what_only_one_kind_can_do_is_refused_by_the_other(client: httpx.Client) -> None:
    assert refusal(client, "/score", model="minilm", text_1="a", text_2="b", use_activation=True) == (
        "unsupported_parameter",
        "use_activation",
    )
    assert refusal(client, "/score", model="echo", text_1="a", text_2="b") == ("model_cannot_embed", "model")
    assert post(client, "/score", model="minilm", text_1="a", text_2="b")["scored_by"] == "cosine"


def test_hooks_see_the_pairs_and_the_model_is_healthy(client: httpx.Client, server: ThreadServer) -> None:
    body = {"model": "bert", "query": "a", "documents": ["fine", "forbidden"]}
    assert client.post("/rerank", json=body).status_code == 403
    assert server.admin.get("/v1/status").json()["inference_model"] == "healthy"
