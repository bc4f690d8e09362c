"""Cross-encoders of random weights, as transformers' BERT and XLM-R have them, written as GGUF files.

The weights come from a seed, so that ``cross_encoder_reference.py`` gives the same ones to transformers.
"""

from pathlib import Path
from typing import Any, Literal

import numpy

from support.minilm import LAYER, wordpiece_vocabulary
from support.tiny_gguf import BOOL, CONTROL, F32, I32, NORMAL, STRING, U32, UNKNOWN, write_gguf

Kind = Literal["bert", "xlm-roberta"]
HIDDEN, INNER, HEADS, LAYERS, POSITIONS = 32, 64, 2, 2, 96
EPSILON = 1e-5
# Positions of RoBERTa's models begin behind that of padding.
OFFSET = 2
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_WORDS = ("the", "cat", "rain", "falls", "where", "is", "house", "and", "or", "king", "of", "france", "on", "mat")
WORDPIECES = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *_WORDS,
    *_LETTERS,
    *(f"##{letter}" for letter in _LETTERS),
    *("##ing", "##ed", ".", ",", "?", "!"),
]
_SPACE = "\u2581"
#: Pieces and their log probabilities.
UNIGRAMS = [
    *((special, 0.0) for special in ("<s>", "<pad>", "</s>", "<unk>")),
    *((f"{_SPACE}{word}", -4.0 - number / 10) for number, word in enumerate(_WORDS)),
    (_SPACE, -6.0),
    *((piece, -7.0 - number / 10) for number, piece in enumerate([*_LETTERS, "ing", "s,", ".", ",", "?", "!"])),
]
#: Pairs of all lengths; the last one has letters that the vocabularies lack.
PAIRS = (
    ("where is the cat", "the cat is on the mat."),
    ("where is the cat", "rain falls"),
    ("where is the cat", "the king of france"),
    ("king of france", "where is the house of the king?"),
    ("king of france", "and or and or " * 16),
    ("rain and rain " * 8, "x"),
    ("Ωmega cat", "ÜBER the mat — 猫"),
)


def weights_of(kind: Kind, seed: int = 7, labels: int = 1) -> dict[str, Any]:
    """Return random weights under transformers' names."""
    random = numpy.random.default_rng(seed)

    def drawn(*shape: int) -> Any:
        return (random.standard_normal(shape) * 0.25).astype(numpy.float32)

    size = len(WORDPIECES if kind == "bert" else UNIGRAMS)
    weights = {
        "embeddings.word_embeddings.weight": drawn(size, HIDDEN),
        "embeddings.position_embeddings.weight": drawn(POSITIONS + (0 if kind == "bert" else OFFSET), HIDDEN),
        "embeddings.token_type_embeddings.weight": drawn(1, HIDDEN),
    }
    norms = ["embeddings.LayerNorm"]
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        for name in LAYER.values():
            if name.endswith("LayerNorm"):
                norms.append(f"{layer}.{name}")
                continue
            inner = INNER if name == "intermediate.dense" else HIDDEN
            weights[f"{layer}.{name}.weight"] = drawn(inner, INNER if name == "output.dense" else HIDDEN)
            weights[f"{layer}.{name}.bias"] = drawn(inner)
    for name in norms:
        weights[f"{name}.weight"], weights[f"{name}.bias"] = 1 + drawn(HIDDEN), drawn(HIDDEN)
    dense, out = ("pooler.dense", "classifier") if kind == "bert" else ("classifier.dense", "classifier.out_proj")
    for name, rows in ((dense, HIDDEN), (out, labels)):
        weights[f"{name}.weight"], weights[f"{name}.bias"] = 2 * drawn(rows, HIDDEN), drawn(rows)
    return weights


def write_cross_encoder(
    file: Path, kind: Kind, weights: dict[str, Any] | None = None, *, lacks: tuple[str, ...] = ()
) -> Path:
    """Write a cross-encoder as a GGUF file, with the names of llama.cpp's conversion; returns the file.

    ``lacks``: keys that are left out, as in older files.
    """
    found = weights_of(kind) if weights is None else weights
    begin = 0 if kind == "bert" else OFFSET
    tensors = {
        "token_embd.weight": found["embeddings.word_embeddings.weight"],
        "token_types.weight": found["embeddings.token_type_embeddings.weight"],
        "position_embd.weight": found["embeddings.position_embeddings.weight"][begin:],
        "token_embd_norm.weight": found["embeddings.LayerNorm.weight"],
        "token_embd_norm.bias": found["embeddings.LayerNorm.bias"],
    }
    for number in range(LAYERS):
        for ours, theirs in LAYER.items():
            for part in ("weight", "bias"):
                tensors[f"blk.{number}.{ours}.{part}"] = found[f"encoder.layer.{number}.{theirs}.{part}"]
    heads = {"pooler.dense": "cls", "classifier.dense": "cls", "classifier": "cls.output"}
    heads["classifier.out_proj"] = "cls.output"
    for theirs, ours in heads.items():
        for part in ("weight", "bias"):
            if (tensor := found.get(f"{theirs}.{part}")) is not None:
                tensors[f"{ours}.{part}"] = tensor
    vocabulary = wordpiece_vocabulary(WORDPIECES) if kind == "bert" else _unigram_vocabulary()
    types = {"tokenizer.ggml.token_type_count": (U32, len(tensors["token_types.weight"]))}
    metadata = {**shape_of(kind), **vocabulary, **types}
    write_gguf(file, {key: value for key, value in metadata.items() if key not in lacks}, tensors)
    return file


def shape_of(kind: Kind) -> dict[str, tuple[int, Any]]:
    """Return the metadata of a model."""
    return {
        "general.architecture": (STRING, "bert"),
        "general.name": (STRING, f"random {kind}"),
        "bert.context_length": (U32, POSITIONS),
        "bert.embedding_length": (U32, HIDDEN),
        "bert.feed_forward_length": (U32, INNER),
        "bert.block_count": (U32, LAYERS),
        "bert.attention.head_count": (U32, HEADS),
        "bert.attention.layer_norm_epsilon": (F32, EPSILON),
        "bert.attention.causal": (BOOL, False),
        "bert.pooling_type": (U32, 4),
    }


def _unigram_vocabulary() -> dict[str, tuple[int, Any]]:
    kinds = [CONTROL, CONTROL, CONTROL, UNKNOWN, *[NORMAL] * (len(UNIGRAMS) - 4)]
    return {
        "tokenizer.ggml.model": (STRING, "t5"),
        "tokenizer.ggml.pre": (STRING, "default"),
        "tokenizer.ggml.tokens": (STRING, [piece for piece, _ in UNIGRAMS]),
        "tokenizer.ggml.scores": (F32, [score for _, score in UNIGRAMS]),
        "tokenizer.ggml.token_type": (I32, kinds),
        "tokenizer.ggml.add_space_prefix": (BOOL, True),
        "tokenizer.ggml.remove_extra_whitespaces": (BOOL, True),
        "tokenizer.ggml.bos_token_id": (U32, 0),
        "tokenizer.ggml.padding_token_id": (U32, 1),
        "tokenizer.ggml.eos_token_id": (U32, 2),
        "tokenizer.ggml.seperator_token_id": (U32, 2),
        "tokenizer.ggml.unknown_token_id": (U32, 3),
        **{f"tokenizer.ggml.add_{name}_token": (BOOL, True) for name in ("bos", "eos", "sep")},
    }
