"""From the vectors of a text's tokens to the vector of the text."""

import os
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import cyllama.llama.llama_cpp as llama
import numpy

from jan.engine.backends.llamacpp.gguf_files import BUNDLED
from jan.engine.backends.llamacpp.options import LlamaCppOptions
from jan.errors import ConfigurationError

Pooling = Literal["mean", "cls", "last", "rank"]
# llama.cpp's numbers of poolings (llama_pooling_type).
#: Here every model's, because llama.cpp's Python binding gives the vectors of tokens only.
NO_POOLING = 0
_POOLINGS = MappingProxyType[int, Pooling]({1: "mean", 2: "cls", 3: "last", 4: "rank"})
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
    """Return how a model that embeds pools; ``rank`` for one that scores pairs; None for a model that generates.

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
    number = header.get_value(key) if header.find_key(key) >= 0 else NO_POOLING
    if number in _POOLINGS:
        return _POOLINGS[number]
    if number != NO_POOLING or architecture in _ENCODERS:
        raise ConfigurationError(
            f"Model file {file} does not say how its vectors are pooled. Set the option pooling to mean, cls, "
            "last or rank."
        )
    return None


def wanted(pooling: Pooling, length: int) -> range:
    """Return the positions of a text of ``length`` tokens whose vectors ``pooled`` needs."""
    if pooling == "mean":
        return range(length)
    return range(length - 1, length) if pooling == "last" else range(1)


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
