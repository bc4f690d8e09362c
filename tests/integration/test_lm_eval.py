"""lm-evaluation-harness scores the bundled model through this server, on documents of our own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from support.server import MODEL, ServerProcess

pytestmark = [pytest.mark.heavy, pytest.mark.model]

HARNESS = "0.4.13"
PACKAGES = (f"lm-eval[api]=={HARNESS}", "transformers==5.24.0")
TEXTS = (
    "The capital of France is the city of Paris",
    "Once upon a time there was a little girl who lived in a small house in the woods",
    "Two plus two is four, and three plus three is six",
    "He opened the umbrella because of the rain \U0001f327️ and the café was full of people",
)
# The last word of each text is what is scored, or generated. JSON is YAML too.
COMMON = {
    "dataset_path": "json",
    "test_split": "test",
    "doc_to_text": "{{text.split(' ')[:-1]|join(' ')}}",
    "doc_to_target": "{{' '+text.split(' ')[-1]}}",
}
GENERATE = {"until": ["\n", "."], "max_gen_toks": 8, "do_sample": False}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a task of likelihoods, as LAMBADA has, one of generated texts, and their documents."""
    folder = tmp_path_factory.mktemp("tasks")
    documents = folder / "documents.json"
    documents.write_text(json.dumps([{"text": text} for text in TEXTS]))
    common = {**COMMON, "dataset_kwargs": {"data_files": {"test": str(documents)}}}
    score = {"task": "last_word", "output_type": "loglikelihood", "metric_list": [{"metric": "acc"}]}
    generate = {"task": "go_on", "output_type": "generate_until", "metric_list": [{"metric": "exact_match"}]}
    (folder / "last_word.yaml").write_text(json.dumps(common | score))
    (folder / "go_on.yaml").write_text(json.dumps(common | generate | {"generation_kwargs": GENERATE}))
    return folder


@pytest.fixture(scope="module")
def harness(install_once: Callable[..., Path], tasks: Path) -> Callable[..., dict[str, list[Any]]]:
    """Run the harness; returns what each task got for each document, in their order."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    name = f"lm-eval-{HARNESS}-{sys.implementation.cache_tag}"
    folder = install_once(name, *pip, "--target", ".", *PACKAGES)

    def run(kind: str, names: str, *more: str, **arguments: Any) -> dict[str, list[Any]]:
        settings = ",".join(f"{name}={value}" for name, value in arguments.items())
        out = tasks / f"{kind}-{arguments.get('tokenized_requests')}"
        command = [sys.executable, "-m", "lm_eval", "--model", kind, "--model_args", settings, "--tasks", names]
        command += ["--include_path", str(tasks), "--log_samples", "--output_path", str(out), *more]
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(tasks / "cache"), "NO_PROXY": "127.0.0.1"}
        environment = {**os.environ, **offline, "PYTHONPATH": str(folder)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-2000:]
        return {name: _answers(out, name) for name in names.split(",")}

    return run


def _answers(out: Path, task: str) -> list[Any]:
    (file,) = out.rglob(f"samples_{task}_*.jsonl")
    samples = [json.loads(line) for line in file.read_text().splitlines()]
    return [one["resps"][0][0] for one in sorted(samples, key=lambda one: one["doc_id"])]


@pytest.mark.parametrize("tokenized", [True, False], ids=["tokens", "texts"])
def test_likelihoods_are_those_of_llama_cpp(
    harness: Callable[..., dict[str, list[Any]]],
    model_server: ServerProcess,
    bundled_folder: Path,
    tokenized: bool,
) -> None:
    """Scored by llama.cpp alone, in one batch of a context of its own, each word is as likely."""
    url = f"{model_server.url}/v1/completions"
    found = harness(
        "local-completions",
        "last_word,go_on",
        model=MODEL,
        base_url=url,
        tokenizer=bundled_folder,
        tokenized_requests=tokenized,
        max_retries=1,
    )
    for (likelihood, greedy), (expected, likeliest) in zip(
        found["last_word"], _scored_by_llama_cpp(), strict=True
    ):
        assert float(likelihood) == pytest.approx(expected, abs=0.02)
        assert greedy == str(likeliest)
    assert all(text.strip() for text in found["go_on"])


def test_chats_are_generated(harness: Callable[..., dict[str, list[Any]]], model_server: ServerProcess) -> None:
    """Each document gets an answer."""
    url = f"{model_server.url}/v1/chat/completions"
    more = ("--apply_chat_template",)
    found = harness("local-chat-completions", "go_on", *more, model=MODEL, base_url=url, max_retries=1)
    assert all(text.strip() for text in found["go_on"])


def _scored_by_llama_cpp() -> list[tuple[float, bool]]:
    """Return the log likelihood of each text's last word, and whether it is the likeliest word."""
    import cyllama.llama.llama_cpp as llama

    from jan.engine.backends.llamacpp.gguf_files import BUNDLED, resolve_model_file
    from jan.engine.backends.llamacpp.model import GgufModel

    model = GgufModel(resolve_model_file(BUNDLED), 0)
    parameters = llama.LlamaContextParams()
    parameters.n_ctx = parameters.n_batch = 64
    scores = []
    for text in TEXTS:
        begin = len(model.tokenize(text.rpartition(" ")[0], 64))
        tokens = model.tokenize(text, 64)
        context = llama.LlamaContext(model.weights, parameters)
        batch = llama.LlamaBatch(n_tokens=len(tokens), embd=0, n_seq_max=1)
        for position, token in enumerate(tokens):
            batch.add(token, position, [0], True)
        context.decode(batch)
        rows = [numpy.asarray(context.get_logits_ith(at - 1), numpy.float64) for at in range(begin, len(tokens))]
        word = list(zip(rows, tokens[begin:], strict=True))
        likelihood = sum(float(row[token] - numpy.logaddexp.reduce(row)) for row, token in word)
        scores.append((likelihood, all(int(row.argmax()) == token for row, token in word)))
    return scores
