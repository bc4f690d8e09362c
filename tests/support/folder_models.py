"""Folders in Hugging Face's form for tests: the bundled GGUF model converted, and a tiny one of random weights."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cyllama.llama.llama_cpp as llama
import numpy
from safetensors.numpy import save_file

from jan.engine.backends.llamacpp.gguf_files import BUNDLED, resolve_model_file

Array = Any
# GGUF tensor name -> Hugging Face name, of one layer.
_LAYER = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TINY = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 2048,
}
# Of the bundled model's 49,152 tokens, its control tokens and bytes among them: to load a tiny model is mostly to
# read its vocabulary.
TINY_VOCABULARY = 4096


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """A folder that is there as a whole or not at all."""
    if not folder.exists():
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
        unfinished.mkdir(parents=True)
        try:
            make(unfinished)
        except BaseException:  # gigabytes, perhaps
            shutil.rmtree(unfinished)
            raise
        try:
            unfinished.rename(folder)
        except OSError:  # another process was first
            shutil.rmtree(unfinished)
    return folder


class Gguf:
    """The bundled file: metadata through llama.cpp, tensors read here; with its first ``vocabulary`` tokens."""

    def __init__(self, vocabulary: int | None = None) -> None:
        file = resolve_model_file(BUNDLED)
        self._header = llama.GGUFContext.from_file(os.fspath(file))
        self.metadata: dict[str, Any] = self._header.get_all_metadata()
        self._data = numpy.memmap(file, dtype=numpy.uint8, mode="r")
        self.tokens: list[str] = self.metadata["tokenizer.ggml.tokens"][:vocabulary]
        known, merges = set(self.tokens), self.metadata["tokenizer.ggml.merges"]
        #: In the order of the tokens that they make.
        self.merges = [merge for merge in merges if merge.replace(" ", "") in known]

    def number(self, key: str) -> int:
        return int(self.metadata[f"llama.{key}"])

    def tensor(self, name: str) -> Array:
        """Return the tensor as flat float32."""
        index = self._header.find_tensor(name)
        begin = self._header.data_offset + self._header.get_tensor_offset(index)
        raw = self._data[begin : begin + self._header.get_tensor_size(index)]
        return _DECODERS[int(self._header.get_tensor_type(index))](raw)


def _half(raw: Array) -> Array:
    return numpy.ascontiguousarray(raw).view(numpy.float16).astype(numpy.float32)


def _q4_1(raw: Array) -> Array:
    blocks = raw.reshape(-1, 20)
    packed = blocks[:, 4:]
    values = numpy.concatenate([packed & 15, packed >> 4], 1).astype(numpy.float32)
    return (values * _half(blocks[:, :2]) + _half(blocks[:, 2:4])).reshape(-1)


def _q8_0(raw: Array) -> Array:
    blocks = raw.reshape(-1, 34)
    return (blocks[:, 2:].view(numpy.int8).astype(numpy.float32) * _half(blocks[:, :2])).reshape(-1)


_DECODERS = {0: lambda raw: raw.view(numpy.float32), 3: _q4_1, 8: _q8_0}


def _unpermuted(weights: Array, heads: int) -> Array:
    """Rows of a query or key projection as Hugging Face orders them; llama.cpp's conversion pairs them."""
    rows, columns = weights.shape
    return weights.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write_bundled(folder: Path) -> None:
    """The bundled model, its quantised weights spelled out in fp16."""
    gguf = Gguf()
    hidden, inner = gguf.number("embedding_length"), gguf.number("feed_forward_length")
    heads, key_heads = gguf.number("attention.head_count"), gguf.number("attention.head_count_kv")
    tensors = {
        "model.embed_tokens.weight": gguf.tensor("token_embd.weight").reshape(-1, hidden),
        "model.norm.weight": gguf.tensor("output_norm.weight"),
    }
    for layer in range(gguf.number("block_count")):
        for ours, theirs in _LAYER.items():
            weights = gguf.tensor(f"blk.{layer}.{ours}.weight")
            if "norm" not in ours:
                weights = weights.reshape(-1, inner if ours == "ffn_down" else hidden)
            if ours in ("attn_q", "attn_k"):
                weights = _unpermuted(weights, heads if ours == "attn_q" else key_heads)
            tensors[f"model.layers.{layer}.{theirs}.weight"] = weights
    shape = {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": gguf.number("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        "head_dim": hidden // heads,
        "max_position_embeddings": gguf.number("context_length"),
        "rope_theta": gguf.metadata["llama.rope.freq_base"],
    }
    _write(folder, gguf, shape, tensors)


def write_tiny(folder: Path) -> None:
    """Two layers of random weights, the beginning of the bundled model's vocabulary."""
    gguf, random = Gguf(TINY_VOCABULARY), numpy.random.default_rng(0)

    def weights(rows: int, columns: int) -> Array:
        return random.standard_normal((rows, columns), dtype=numpy.float32) * 0.1

    hidden, inner, size = TINY["hidden_size"], TINY["intermediate_size"], TINY["head_dim"]
    queries, keys = TINY["num_attention_heads"] * size, TINY["num_key_value_heads"] * size
    shapes = {
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    tensors = {
        "model.embed_tokens.weight": weights(len(gguf.tokens), hidden),
        "model.norm.weight": numpy.ones(hidden),
    }
    for layer in range(TINY["num_hidden_layers"]):
        name = f"model.layers.{layer}"
        tensors |= {f"{name}.{part}.weight": weights(*shape) for part, shape in shapes.items()}
        tensors |= {f"{name}.{norm}.weight": numpy.ones(hidden) for norm in list(_LAYER.values())[:2]}
    _write(folder, gguf, {**TINY, "rope_theta": 10000.0}, tensors)


def _write(folder: Path, gguf: Gguf, shape: dict[str, Any], tensors: dict[str, Array]) -> None:
    end, begin = gguf.metadata["tokenizer.ggml.eos_token_id"], gguf.metadata["tokenizer.ggml.bos_token_id"]
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "vocab_size": len(gguf.tokens),
        "bos_token_id": begin,
        "eos_token_id": end,
        **shape,
    }
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder, gguf)
    halves = {name: numpy.ascontiguousarray(values, dtype=numpy.float16) for name, values in tensors.items()}
    save_file(halves, folder / "model.safetensors", {"format": "pt"})


def write_tokenizer(folder: Path, gguf: Gguf) -> None:
    """The bundled model's vocabulary and chat template."""
    end, begin = gguf.metadata["tokenizer.ggml.eos_token_id"], gguf.metadata["tokenizer.ggml.bos_token_id"]
    words = {"bos_token": gguf.tokens[begin], "eos_token": gguf.tokens[end]}
    template = {"chat_template": gguf.metadata["tokenizer.chat_template"], **words}
    (folder / "tokenizer_config.json").write_text(json.dumps(template))
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer(gguf.tokens, gguf.merges)))


def _tokenizer(tokens: list[str], merges: list[str]) -> dict[str, Any]:
    made = {merge.replace(" ", "") for merge in merges}
    bytelevel = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        # What no merge makes, and is no single byte, is a control token.
        "added_tokens": [
            {
                "id": at,
                "content": token,
                "special": True,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
            }
            for at, token in enumerate(tokens)
            if len(token) > 1 and token not in made
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, bytelevel],
        },
        "post_processor": None,
        "decoder": {**bytelevel, "add_prefix_space": True},
        "model": {"type": "BPE", "vocab": {token: at for at, token in enumerate(tokens)}, "merges": merges},
    }
