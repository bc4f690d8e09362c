"""GGUF files of random weights with chat templates of a test's own. They load in a moment and talk nonsense."""

import struct
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy

from support.folder_models import Gguf

_HIDDEN, _INNER, _HEADS, _VOCABULARY = 64, 64, 2, 4096
_ALIGNMENT = 32
# GGUF's numbers of types (ggml's documentation of the format, version 3).
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
NORMAL, UNKNOWN, CONTROL = 1, 2, 3
_FORMATS = MappingProxyType({U32: "I", I32: "i", F32: "f", BOOL: "?"})


def write_tiny_gguf(
    file: Path, templates: Mapping[str, str], *, control: tuple[str, ...] = (), context: int = 4096
) -> Path:
    """Write a model of one layer, with the beginning of the bundled model's vocabulary.

    Args:
        file: where it is written; returned.
        templates: chat templates by name; ``default`` is the template without a name.
        control: control tokens beyond those of the bundled model.
        context: most tokens of prompt and answer that it says it was trained for.
    """
    gguf = Gguf(_VOCABULARY)
    made = {merge.replace(" ", "") for merge in gguf.merges}
    tokens = [*gguf.tokens, *control]
    kinds = [CONTROL if len(token) > 1 and token not in made else NORMAL for token in tokens]
    metadata: dict[str, tuple[int, Any]] = {
        "general.architecture": (STRING, "llama"),
        "general.name": (STRING, "tiny"),
        "llama.context_length": (U32, context),
        "llama.embedding_length": (U32, _HIDDEN),
        "llama.block_count": (U32, 1),
        "llama.feed_forward_length": (U32, _INNER),
        "llama.attention.head_count": (U32, _HEADS),
        "llama.attention.head_count_kv": (U32, _HEADS),
        "llama.attention.layer_norm_rms_epsilon": (F32, 1e-5),
        "llama.rope.dimension_count": (U32, _HIDDEN // _HEADS),
        "llama.vocab_size": (U32, len(tokens)),
        "tokenizer.ggml.model": (STRING, "gpt2"),
        "tokenizer.ggml.pre": (STRING, gguf.metadata["tokenizer.ggml.pre"]),
        "tokenizer.ggml.tokens": (STRING, tokens),
        "tokenizer.ggml.token_type": (I32, kinds),
        "tokenizer.ggml.merges": (STRING, gguf.merges),
        "tokenizer.ggml.bos_token_id": (U32, gguf.metadata["tokenizer.ggml.bos_token_id"]),
        "tokenizer.ggml.eos_token_id": (U32, gguf.metadata["tokenizer.ggml.eos_token_id"]),
    }
    for name, source in templates.items():
        key = "tokenizer.chat_template" + ("" if name == "default" else f".{name}")
        metadata[key] = (STRING, source)
    write_gguf(file, metadata, _weights(len(tokens)))
    return file


def _weights(vocabulary: int) -> dict[str, Any]:
    random = numpy.random.default_rng(0)
    shapes = {
        "token_embd": (vocabulary, _HIDDEN),
        "output_norm": (_HIDDEN,),
        "blk.0.attn_norm": (_HIDDEN,),
        "blk.0.ffn_norm": (_HIDDEN,),
        "blk.0.ffn_gate": (_INNER, _HIDDEN),
        "blk.0.ffn_up": (_INNER, _HIDDEN),
        "blk.0.ffn_down": (_HIDDEN, _INNER),
        **{f"blk.0.attn_{part}": (_HIDDEN, _HIDDEN) for part in ("q", "k", "v", "output")},
    }
    return {
        f"{name}.weight": random.standard_normal(shape, dtype=numpy.float32) * 0.1
        for name, shape in shapes.items()
    }


def write_gguf(file: Path, metadata: dict[str, tuple[int, Any]], tensors: dict[str, Any]) -> None:
    """Write metadata, each value with GGUF's number of its type, and float32 tensors."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(_text(key) + _value(kind, value) for key, (kind, value) in metadata.items())
    data, size = [], 0
    for name, tensor in tensors.items():
        head += _text(name) + struct.pack("<I", tensor.ndim)
        head += struct.pack(f"<{tensor.ndim}Q", *reversed(tensor.shape)) + struct.pack("<IQ", 0, size)
        data.append(_padded(tensor.tobytes()))
        size += len(data[-1])
    file.write_bytes(b"".join([_padded(head), *data]))


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _ALIGNMENT)


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(kind: int, value: Any) -> bytes:
    if isinstance(value, list):
        return struct.pack("<IIQ", ARRAY, kind, len(value)) + b"".join(_plain(kind, one) for one in value)
    return struct.pack("<I", kind) + _plain(kind, value)


def _plain(kind: int, value: Any) -> bytes:
    return _text(value) if kind == STRING else struct.pack(f"<{_FORMATS[kind]}", value)
