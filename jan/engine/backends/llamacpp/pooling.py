"""From the vectors of a text's tokens to the vector of the text."""

import os
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import cyllama.llama.llama_cpp as llama
import numpy

from jan.engine.backends.llamacpp.model import BUNDLED
from jan.engine.backends.llamacpp.options import LlamaCppOptions
from jan.errors import ConfigurationError

Pooling = Literal["mean", "cls", "last"]
# llama.cpp's numbers of poolings (llama_pooling_type).
_NONE, _RANK = 0, 4
_POOLINGS = MappingProxyType[int, Pooling]({1: "mean", 2: "cls", 3: "last"})
# Architectures whose models generate nothing.
_ENCODERS = frozenset(
    {
        "bert",
        "eurobert",
        "gemma-embedding",
        "jina-bert-v2",
        "jina-bert-v3",
        "modern-bert",
        "neo-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "t5encoder",
    }
)


def pooling_of(options: LlamaCppOptions, file: Path) -> Pooling | None:
    """Return how a model that embeds pools; None for a model that generates.

    The file says it in the key ``pooling_type`` of its architecture, unless the option does.

    Raises ConfigurationError for a model that embeds in a way that is not served.
    """
    if options.pooling == "none" or (options.pooling == "auto" and options.model == BUNDLED):
        return None
    if options.pooling != "auto":
        return options.pooling
    header = llama.GGUFContext.from_file(os.fspath(file))
    architecture = header.get_value("general.architecture")
    key = f"{architecture}.pooling_type"
    number = header.get_value(key) if header.find_key(key) >= 0 else _NONE
    if number in _POOLINGS:
        return _POOLINGS[number]
    if number == _RANK:
        raise ConfigurationError(f"Model file {file} scores pairs of texts; allowed: a model that embeds.")
    if number != _NONE or architecture in _ENCODERS:
        raise ConfigurationError(
            f"Model file {file} does not say how its vectors are pooled. Set the option pooling to mean, cls or "
            "last."
        )
    return None


def wanted(pooling: Pooling, length: int) -> range:
    """Return the positions of a text of ``length`` tokens whose vectors ``pooled`` needs."""
    if pooling == "mean":
        return range(length)
    return range(1) if pooling == "cls" else range(length - 1, length)


def pooled(context: Any, outputs: range, dimensions: int) -> bytes:
    """Return a text's vector of length 1: little-endian float32 [dimensions].

    Args:
        context: llama.cpp's, after a step.
        outputs: positions in the step's batch of the tokens that ``wanted`` names.
        dimensions: numbers that are kept, from the first one (Kusupati et al. 2022, Matryoshka).
    """
    total = numpy.zeros(dimensions)
    for at in outputs:
        total += numpy.array(context.get_embeddings_ith(at)[:dimensions])
    norm = float(numpy.linalg.norm(total))
    return (total / norm if norm else total).astype("<f4").tobytes()
