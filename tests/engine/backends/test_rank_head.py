"""Heads of cross-encoders: files that can't be served, quantised tensors, and where pairs are cut."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

llama = pytest.importorskip("cyllama.llama.llama_cpp")
tokenizers = pytest.importorskip("tokenizers")
pytestmark = pytest.mark.model

from support.cross_encoder_reference import tokenizer_of  # noqa: E402
from support.cross_encoders import HIDDEN, WORDPIECES, shape_of, weights_of, write_cross_encoder  # noqa: E402
from support.minilm import wordpiece_vocabulary  # noqa: E402
from support.tiny_gguf import STRING, U32, write_gguf  # noqa: E402

from jan.engine.backends.llamacpp import LlamaCppBackend, LlamaCppOptions  # noqa: E402
from jan.engine.backends.llamacpp.gguf_tensors import read_gguf_tensors  # noqa: E402
from jan.engine.backends.llamacpp.model import GgufModel  # noqa: E402
from jan.engine.backends.llamacpp.rank_head import read_rank_head  # noqa: E402
from jan.engine.backends.pair_inputs import tokenize_pairs  # noqa: E402
from jan.engine.base import GenerationRequest, PairPrompt  # noqa: E402
from jan.engine.model_trials.tried_models import ModelTrials  # noqa: E402
from jan.errors import ConfigurationError  # noqa: E402

DENSE = ("pooler.dense.weight", "pooler.dense.bias")
OUT = ("classifier.weight", "classifier.bias")


@pytest.fixture(scope="module")
def trials() -> Iterator[ModelTrials]:
    made = ModelTrials()
    yield made
    made.rest()


def without(*names: str) -> dict[str, Any]:
    return {name: tensor for name, tensor in weights_of("bert").items() if name not in names}


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        (weights_of("bert", labels=3), "has 3 labels; allowed: 1, the score"),
        (
            {**weights_of("bert"), "embeddings.token_type_embeddings.weight": numpy.eye(2, HIDDEN, dtype="f4")},
            "tells the two texts apart by types of tokens",
        ),
        (without(*DENSE, *OUT), r"has no tensor cls.weight or cls.output.weight"),
        ({**weights_of("bert"), "classifier.bias": numpy.zeros(2, "f4")}, "has a head of the wrong shape"),
    ],
    ids=["labels", "types", "no-head", "shape"],
)
def test_a_file_whose_scores_would_be_wrong_is_refused(
    trials: ModelTrials, tmp_path: Path, weights: dict[str, Any], says: str
) -> None:
    file = write_cross_encoder(tmp_path / "model.gguf", "bert", weights)
    backend = LlamaCppBackend(LlamaCppOptions(model=str(file), threads=1))
    with pytest.raises(ConfigurationError, match=f"scores pairs of texts, and can't be served: It {says}"):
        trials.admit(backend)


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    write_gguf(file, {"general.architecture": (STRING, "qwen3")}, {"cls.output.weight": numpy.ones((1, 4), "f4")})
    with pytest.raises(ConfigurationError, match="is of the architecture qwen3; allowed: bert, jina-bert-v2"):
        read_rank_head(file)


def test_heads_of_one_layer_are_served(tmp_path: Path) -> None:
    """The dense layer alone ends with tanh, as in llama.cpp; the other one does not."""
    one = weights_of("bert")["classifier.weight"]
    vector = numpy.ones(HIDDEN, "f4").tolist()
    for names, expected in ((DENSE, numpy.tanh(one.sum())), (OUT, one.sum())):
        weights = {**without(*DENSE, *OUT), names[0]: one}
        head = read_rank_head(write_cross_encoder(tmp_path / "model.gguf", "bert", weights))
        assert numpy.frombuffer(head.logit(vector), "<f4") == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "error"),
    [(1, 0.001), (32, 0.01), (7, 0.02), (18, 0.08), (17, 0.16), (15, 0.27), (2, 0.45)],
    ids=["F16", "BF16", "Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q4_0"],
)
def test_quantised_tensors_are_read(tmp_path: Path, kind: int, error: float) -> None:
    """As llama.cpp itself writes them. Each type keeps numbers of a normal distribution up to an error."""
    weights = numpy.random.default_rng(1).standard_normal((16, 256)).astype(numpy.float32)
    whole, small = tmp_path / "whole.gguf", tmp_path / "small.gguf"
    metadata = {**shape_of("bert"), **wordpiece_vocabulary(WORDPIECES), "bert.embedding_length": (U32, 256)}
    write_gguf(whole, metadata, {"cls.weight": weights, "cls.bias": weights[0].copy()})
    parameters = llama.LlamaModelQuantizeParams()
    parameters.ftype = kind
    llama.disable_logging()
    llama.model_quantize(str(whole), str(small), parameters)
    assert small.stat().st_size < whole.stat().st_size
    found = read_gguf_tensors(small, ["cls.weight", "cls.bias", "cls.norm.weight"])
    assert numpy.abs(found["cls.weight"] - weights).max() < error
    assert (found["cls.bias"] == weights[0]).all()
    assert len(found) == 2


def test_a_head_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    """Without reading beyond the file, however large a tensor claims to be."""
    file = write_cross_encoder(tmp_path / "model.gguf", "bert")
    data = file.read_bytes()
    at = data.index(b"cls.weight") + len("cls.weight") + 4
    assert data[at : at + 8] == HIDDEN.to_bytes(8, "little")
    file.write_bytes(data[:at] + (1 << 40).to_bytes(8, "little") + data[at + 8 :])
    with pytest.raises(ConfigurationError, match=r"Tensor cls.weight of .* is cut off"):
        read_rank_head(file)


def test_a_file_that_does_not_say_its_width_is_refused(tmp_path: Path) -> None:
    tensors = {"cls.output.weight": numpy.ones((1, 4), "f4")}
    write_gguf(tmp_path / "model.gguf", {"general.architecture": (STRING, "bert")}, tensors)
    with pytest.raises(ConfigurationError, match="has a head of the wrong shape"):
        read_rank_head(tmp_path / "model.gguf")


def test_tensors_of_other_types_are_refused(tmp_path: Path) -> None:
    file = write_cross_encoder(tmp_path / "model.gguf", "bert")
    data = file.read_bytes()
    at = data.index(b"cls.weight") + len("cls.weight") + 4 + 2 * 8
    assert data[at : at + 4] == b"\0\0\0\0"
    file.write_bytes(data[:at] + b"\x10" + data[at + 1 :])
    with pytest.raises(
        ConfigurationError, match=r"Tensor cls.weight of .* is of ggml's type 16; allowed here: F32, "
    ):
        read_rank_head(file)


@pytest.mark.parametrize(
    ("kind", "lacks"),
    [("bert", ()), ("xlm-roberta", ()), ("xlm-roberta", ("tokenizer.ggml.add_sep_token",))],
    ids=["bert", "xlm-roberta", "older-xlm-roberta"],
)
def test_pairs_are_cut_where_hugging_faces_tokenizers_cut_them(
    tmp_path: Path, kind: Any, lacks: tuple[str, ...]
) -> None:
    """With the same special tokens, also from files that do not say that two texts have a separator."""
    model = GgufModel(write_cross_encoder(tmp_path / "model.gguf", kind, lacks=lacks), 0, without_weights=True)
    theirs = tokenizer_of(kind)
    letters = "a b c d e f g h i j k l m n"
    for one, other in ((letters, letters[:5]), (letters[:5], letters), (letters, letters), (letters[:9], letters)):
        for most in range(4, 36):
            theirs.enable_truncation(most, strategy="longest_first")
            prompt = PairPrompt(ones=(one,), others=(other,), named=("query", "documents[0]"))
            request = GenerationRequest(prompt=prompt, truncate=most)
            assert tokenize_pairs(request, model, 96).inputs == [theirs.encode(one, other).ids]
    model.close()
