"""The head of a cross-encoder: from the vector of a pair's first token to the score.

llama.cpp has it too, but its Python binding returns only the vectors of tokens. The form is that of RoBERTa in
transformers (``RobertaClassificationHead``), and of BERT's pooler with a classifier.
"""

from pathlib import Path
from typing import Any

import numpy

from jan.engine.backends.llamacpp.gguf_tensors import read_gguf_tensors
from jan.engine.model_trials.gguf_header import read_gguf_header, read_gguf_layout
from jan.errors import ConfigurationError

Array = Any
# Architectures whose pairs are scored from the first token.
_SERVED = ("bert", "jina-bert-v2")
# llama.cpp's names of the two layers.
_DENSE, _OUT = "cls", "cls.output"
_TYPES = "token_types.weight"
_WORDPIECE = "bert"


class RankHead:
    """Scores the vector of a pair's first token.

    Args:
        layers: weights [out, in] and biases [out] of the layers; tanh is between them.
        ends_with_tanh: the only layer is a dense one.
    """

    def __init__(self, layers: list[tuple[Array, Array]], *, ends_with_tanh: bool) -> None:
        self._layers = layers
        self._ends_with_tanh = ends_with_tanh

    @property
    def labels(self) -> int:
        """How many numbers it makes."""
        return len(self._layers[-1][0])

    def logit(self, vector: list[float]) -> bytes:
        """Return the score of a vector [hidden] as little-endian float32 [1]."""
        found = numpy.asarray(vector, numpy.float32)
        for number, (weight, bias) in enumerate(self._layers, 1):
            found = weight @ found + bias
            if number < len(self._layers) or self._ends_with_tanh:
                found = numpy.tanh(found)
        return found.astype("<f4").tobytes()


def read_rank_head(file: Path) -> RankHead:
    """Read the head of a model file. Raises ConfigurationError for a model whose scores are not computed here."""
    metadata = read_gguf_header(file)
    architecture = metadata["general.architecture"]
    if architecture not in _SERVED:
        raise _refused(file, f"is of the architecture {architecture}; allowed: {', '.join(_SERVED)}")
    layout = read_gguf_layout(file)
    if f"{_DENSE}.weight" not in layout and f"{_OUT}.weight" not in layout:
        raise _refused(file, f"has no tensor {_DENSE}.weight or {_OUT}.weight")
    if metadata.get("tokenizer.ggml.model") == _WORDPIECE and _types_differ(file):
        raise _refused(file, "tells the two texts apart by types of tokens, which llama.cpp does not compute")
    found = read_gguf_tensors(file, [f"{layer}.{part}" for layer in (_DENSE, _OUT) for part in ("weight", "bias")])
    layers = []
    for layer in (_DENSE, _OUT):
        if (weight := found.get(f"{layer}.weight")) is not None:
            weight = weight.reshape(-1, weight.shape[-1])
            bias = found.get(f"{layer}.bias")
            layers.append((weight, numpy.zeros(len(weight), numpy.float32) if bias is None else bias))
    _check_shapes(file, layers, int(metadata.get(f"{architecture}.embedding_length", 0)))
    head = RankHead(layers, ends_with_tanh=f"{_OUT}.weight" not in layout)
    if head.labels != 1:
        raise _refused(file, f"has {head.labels} labels; allowed: 1, the score")
    return head


def _types_differ(file: Path) -> bool:
    """Return True if the second text's tokens have a vector of their own that is added to them."""
    types = read_gguf_tensors(file, [_TYPES]).get(_TYPES)
    return types is not None and types.ndim == 2 and not (types == types[0]).all()


def _check_shapes(file: Path, layers: list[tuple[Array, Array]], hidden: int) -> None:
    for weight, bias in layers:
        if weight.shape[1] != hidden or bias.shape != (len(weight),):
            raise _refused(file, "has a head of the wrong shape")
        hidden = len(weight)


def _refused(file: Path, why: str) -> ConfigurationError:
    return ConfigurationError(f"Model file {file} scores pairs of texts, and can't be served: It {why}.")
