"""Wrong model files end a process that tries them, and never the one that would load them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cyllama")
pytestmark = pytest.mark.model

from support.mutated_gguf import mutations  # noqa: E402
from support.tiny_gguf import write_tiny_gguf  # noqa: E402

from jan.engine.backends.llamacpp import LlamaCppBackend, LlamaCppOptions  # noqa: E402
from jan.engine.backends.llamacpp.gguf_files import files_of  # noqa: E402
from jan.engine.model_trials.gguf_header import read_gguf_header  # noqa: E402
from jan.engine.model_trials.model_trial import ModelTrial  # noqa: E402
from jan.engine.model_trials.tried_models import ModelTrials  # noqa: E402
from jan.errors import ConfigurationError  # noqa: E402
from jan.testing import served  # noqa: E402

CHAT = "/api/v1/chat/completions"
TEMPLATE = "{{ messages[0].content }}"
TENSORS = ["token_embd.weight", "output_norm.weight", "blk.0.attn_q.weight", "blk.0.ffn_down.weight"]
#: Of the mutations, this suite tries one in so many.
ONE_IN = 7


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("gguf") / "right.gguf", {"default": TEMPLATE})


@pytest.fixture(scope="module")
def wrong(right: Path) -> dict[str, bytes]:
    return dict(mutations(right.read_bytes(), list(read_gguf_header(right)), TENSORS))


class Called:
    """A backend whose trial is a function of Python's own."""

    def __init__(self, call: str, **limits: Any) -> None:
        self.arguments: dict[str, Any] = limits.pop("arguments", {})
        self.plan = ModelTrial(call=call, arguments=self.arguments, named="Model file x", **limits)

    def trial(self) -> ModelTrial:
        return self.plan


def backend(file: Path) -> LlamaCppBackend:
    return LlamaCppBackend(LlamaCppOptions(model=str(file), slots=1, context=64, threads=1))


@pytest.fixture
def trials() -> Iterator[ModelTrials]:
    made = ModelTrials()
    yield made
    made.rest()


def test_what_ends_a_trial_is_said_and_the_next_model_is_tried(trials: ModelTrials, right: Path) -> None:
    endings = [
        (Called("os:abort"), "it ends the library that reads it, by SIGABRT"),
        (Called("os:_exit", arguments={"status": 3}), "with code 3"),
        (
            Called("builtins:pow", arguments={"base": 3, "exp": 10**9}, cpu_seconds=0.2),
            "more than 0.2 s of computing",
        ),
        (Called("builtins:bytearray", arguments={"source": 1 << 30}, memory_bytes=1 << 29), "more than 512 MiB"),
        (Called("builtins:int", arguments={"x": 1}), "can't be read: TypeError"),
    ]
    for called, reason in endings:
        with pytest.raises(ConfigurationError) as refused:
            trials.admit(called)
        assert refused.value.message.startswith("Model file x can't be ")
        assert reason in refused.value.message
    trials.admit(backend(right))


def test_a_wrong_header_is_refused_or_loads(trials: ModelTrials, wrong: dict[str, bytes], tmp_path: Path) -> None:
    """Whatever is admitted is then loaded by the library in this process, which goes on."""
    refused, loaded = [], []
    for name in list(wrong)[::ONE_IN]:
        file = tmp_path / "model.gguf"
        file.write_bytes(wrong[name])
        try:
            made = backend(file)
            trials.admit(made)
            made.load(lambda _part: None)
            made.close()
            loaded.append(name)
        except ConfigurationError as error:
            refused.append(error.message)
    assert len(refused) > 20
    assert all("model.gguf" in message and message.endswith(".") for message in refused)
    assert loaded, "some changes do no harm"


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("llama.block_count begins with 0", "llama.block_count is 0; allowed: 1 to 10000"),
        ("llama.context_length begins with 0", "llama.context_length is 0"),
        ("llama.vocab_size begins with 4294967295", "llama.vocab_size is 4294967295"),
        ("tokenizer.ggml.tokens of type 13", "the type of tokenizer.ggml.tokens is 13; allowed: 0 to 12"),
        ("length of the key general.name", "the length of the key of entry 1 is 1099511627776"),
        ("tokenizer.ggml.bos_token_id begins with 2147483647", "tokenizer.ggml.bos_token_id is 2147483647"),
        ("18446744073709551615 tensors", "the number of tensors is 18446744073709551615"),
        ("1048576 entries", "the number of entries is 1048576"),
        ("version 4", "its version is 4; allowed: 2, 3"),
        ("token_embd.weight of 5 dimensions", "the dimensions of tensor token_embd.weight are 5; allowed: 1 to 4"),
        ("token_embd.weight at 1099511627776", "the offset of tensor token_embd.weight is beyond the end"),
        ("token_embd.weight at 1", "the offset of tensor token_embd.weight is 1; allowed: multiples of 32"),
        ("cut off at 1000", "is beyond the end of the file"),
    ],
)
def test_the_field_that_is_wrong_is_named(wrong: dict[str, bytes], tmp_path: Path, name: str, field: str) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(wrong[name])
    with pytest.raises(ConfigurationError) as refused:
        read_gguf_header(file)
    assert field in refused.value.message


def test_a_server_outlives_a_model_that_aborts_the_library(wrong: dict[str, bytes], tmp_path: Path) -> None:
    """llama.cpp aborts for a model without blocks, and its template would render for ever."""
    files = {
        "aborts": tmp_path / "aborts.gguf",
        "hangs": write_tiny_gguf(
            tmp_path / "hangs.gguf",
            {"default": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"},
        ),
    }
    files["aborts"].write_bytes(wrong["llama.block_count begins with 0"])
    models: list[dict[str, Any]] = [{"id": "good", "engine": "echo"}]
    models += [
        {"id": name, "engine": "llamacpp", "load": "lazy", "options": {"model": str(file)}}
        for name, file in files.items()
    ]
    asked = {"messages": [{"role": "user", "content": "hi"}]}
    with served(f"models: {json.dumps(models)}") as server:
        for name in files:
            refused = server.client.post(CHAT, json={**asked, "model": name})
            assert refused.status_code == 503
            assert f"Model '{name}' can't be loaded" in refused.json()["error"]["message"]
            assert server.client.post(CHAT, json={**asked, "model": "good"}).status_code == 200
        reasons = [entry["reason"] for entry in server.errors]
    assert "llama.block_count is 0; allowed: 1 to 10000" in reasons[0]
    assert "chat template uses too much for 1 short messages" in reasons[1]


def test_a_template_that_begins_to_hang_later_leaves_no_thread_at_work(tmp_path: Path) -> None:
    """Each such request is refused, and the model answers others."""
    hangs = (
        "{% if messages[0].content == 'boom' %}{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}"
        "{% endfor %}{% endif %}{{ messages[0].content }}{% if messages[0].content == 'big' %}"
        "{{ 'a' * (messages | length * 10**10) }}{% endif %}"
    )
    file = write_tiny_gguf(tmp_path / "later.gguf", {"default": hangs})
    models = [{"id": "later", "engine": "llamacpp", "options": {"model": str(file), "context": 64, "slots": 1}}]
    with served(f"models: {json.dumps(models)}") as server:
        for text, status in (("boom", 400), ("big", 400), ("hi", 200)):
            asked = {"messages": [{"role": "user", "content": text}], "model": "later", "max_tokens": 1}
            answer = server.client.post(CHAT, json=asked)
            assert answer.status_code == status
            if status == 400:
                assert answer.json()["error"]["code"] == "unsupported_messages"
        assert server.errors == []


def test_all_parts_of_a_model_are_its_files(tmp_path: Path) -> None:
    """llama.cpp reads the others when it is given the first."""
    names = [f"big[1]-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    for name in [*names, "big[1]-00001-of-00002.gguf", "big1-00002-of-00003.gguf"]:
        (tmp_path / name).touch()
    assert [file.name for file in files_of(tmp_path / names[0])] == names
    assert files_of(tmp_path / "other.gguf") == [tmp_path / "other.gguf"]
