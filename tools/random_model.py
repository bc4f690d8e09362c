"""Write folders of random weights in the shape of real models: as fast as those, without a download.

Weights are written tensor by tensor from one small pool of random numbers, so 16 GB take little memory.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy

Form = Literal["fp16", "gptq"]

_LLAMA_3 = {"vocab_size": 128256, "rope_theta": 500000.0, "max_position_embeddings": 8192}
SHAPES = MappingProxyType(
    {
        "8b": {
            **_LLAMA_3, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
            "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": False,
        },
        "1b": {
            **_LLAMA_3, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
            "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "tie_word_embeddings": True,
        },
        "tiny": {
            "vocab_size": 49152, "rope_theta": 10000.0, "max_position_embeddings": 2048,
            "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "tie_word_embeddings": True,
        },
    }
)  # fmt: skip
SHARD_BYTES = 4 * 2**30
_POOL = 2**20
# Standard deviation of a linear layer's weights. Uniform four-bit numbers have one of 4.6 steps.
_SPREAD = 0.02
_FOUR_BIT_SPREAD = 4.6
_GROUP = 128


class Tensor(NamedTuple):
    """One tensor of the model. ``kind``: the kind of its numbers, which decides the dtype."""

    name: str
    shape: tuple[int, ...]
    kind: Literal["weights", "ones", "four bits", "zero points", "scales", "groups"]

    @property
    def dtype(self) -> str:
        """The dtype by its name in safetensors."""
        return "F16" if self.kind in ("weights", "ones", "scales") else "I32"

    @property
    def bytes(self) -> int:
        """Bytes of the tensor in the file."""
        return math.prod(self.shape) * (2 if self.dtype == "F16" else 4)


class Numbers:
    """Makes the numbers of tensors, in pieces of limited size."""

    def __init__(self, seed: int, group: int) -> None:
        self._random = numpy.random.default_rng(seed)
        self._group = group
        normal = self._random.standard_normal(_POOL, dtype=numpy.float32)
        self._weights = (normal * _SPREAD).astype(numpy.float16)
        self._bits = self._random.integers(-(2**31), 2**31, _POOL, dtype=numpy.int32)

    def pieces(self, tensor: Tensor) -> Iterator[Any]:
        """Yield all numbers of a tensor: flat arrays of at most _POOL numbers."""
        done, count = 0, math.prod(tensor.shape)
        while done < count:
            piece = self._piece(tensor.kind, done, min(_POOL, count - done))
            done += len(piece)
            yield piece

    def _piece(self, kind: str, done: int, size: int) -> Any:
        if kind in ("weights", "four bits"):
            pool = self._weights if kind == "weights" else self._bits
            # From another place of the pool each time, so that no two layers and no two rows are equal.
            return numpy.roll(pool, -int(self._random.integers(_POOL)))[:size]
        if kind == "groups":
            return numpy.arange(done, done + size, dtype=numpy.int32) // self._group
        if kind == "zero points":  # eight times 7, which means 8
            return numpy.full(size, 0x77777777, numpy.int32)
        return numpy.full(size, 1.0 if kind == "ones" else _SPREAD / _FOUR_BIT_SPREAD, numpy.float16)


def write_random(
    folder: Path, shape: dict[str, Any], form: Form = "fp16", *, seed: int = 0, shard_bytes: int = SHARD_BYTES
) -> None:
    """Write a folder with config and weights; the tokenizer must be added.

    Args:
        folder: an existing folder.
        shape: entries of config.json, as in ``SHAPES``.
        form: fp16, or four-bit GPTQ.
        seed: makes the weights repeatable.
        shard_bytes: largest size of a file.
    """
    group = min(_GROUP, shape["hidden_size"])
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "torch_dtype": "float16",
        "bos_token_id": 1,
        "eos_token_id": 2,
        **shape,
    }
    if form == "gptq":
        quantized = {"quant_method": "gptq", "bits": 4, "group_size": group, "desc_act": False, "sym": True}
        config["quantization_config"] = quantized
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    numbers, shards = Numbers(seed, group), list(_shards(_tensors(shape, form, group), shard_bytes))
    places = {}
    for at, tensors in enumerate(shards, 1):
        name = f"model-{at:05}-of-{len(shards):05}.safetensors"
        _write_shard(folder / name, tensors, numbers)
        places |= {tensor.name: name for tensor in tensors}
    total = sum(tensor.bytes for tensors in shards for tensor in tensors)
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))


def _shards(tensors: Iterator[Tensor], most: int) -> Iterator[list[Tensor]]:
    """Yield the tensors of each file: as many as fit, and at least one."""
    shard: list[Tensor] = []
    for tensor in tensors:
        if shard and sum(each.bytes for each in shard) + tensor.bytes > most:
            yield shard
            shard = []
        shard.append(tensor)
    yield shard


def _write_shard(file: Path, tensors: list[Tensor], numbers: Numbers) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        offsets = [end, end := end + tensor.bytes]
        header[tensor.name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": offsets}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as data:
        data.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors:
            for piece in numbers.pieces(tensor):
                data.write(piece.tobytes())


def _tensors(shape: dict[str, Any], form: Form, group: int) -> Iterator[Tensor]:
    """Yield every tensor of a Llama model, in the order of its layers."""
    hidden, inner, size = shape["hidden_size"], shape["intermediate_size"], shape["head_dim"]
    queries, keys = shape["num_attention_heads"] * size, shape["num_key_value_heads"] * size
    linear = {
        "self_attn.q_proj": (hidden, queries),
        "self_attn.k_proj": (hidden, keys),
        "self_attn.v_proj": (hidden, keys),
        "self_attn.o_proj": (queries, hidden),
        "mlp.gate_proj": (hidden, inner),
        "mlp.up_proj": (hidden, inner),
        "mlp.down_proj": (inner, hidden),
    }
    yield Tensor("model.embed_tokens.weight", (shape["vocab_size"], hidden), "weights")
    for layer in range(shape["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield Tensor(f"{prefix}.{norm}.weight", (hidden,), "ones")
        for name, (rows, columns) in linear.items():
            yield from _linear(f"{prefix}.{name}", rows, columns, form, group)
    yield Tensor("model.norm.weight", (hidden,), "ones")
    if not shape["tie_word_embeddings"]:
        yield Tensor("lm_head.weight", (shape["vocab_size"], hidden), "weights")


def _linear(name: str, rows: int, columns: int, form: Form, group: int) -> Iterator[Tensor]:
    """Yield the tensors of a linear layer from ``rows`` inputs to ``columns`` outputs."""
    if form == "fp16":
        yield Tensor(f"{name}.weight", (columns, rows), "weights")
        return
    # Eight four-bit numbers are packed into one int32.
    yield Tensor(f"{name}.qweight", (rows // 8, columns), "four bits")
    yield Tensor(f"{name}.qzeros", (rows // group, columns // 8), "zero points")
    yield Tensor(f"{name}.scales", (rows // group, columns), "scales")
    yield Tensor(f"{name}.g_idx", (rows,), "groups")
