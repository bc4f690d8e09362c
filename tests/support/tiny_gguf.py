"""GGUF files of random weights with chat templates of a test's own. They load in a moment and talk nonsense."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy

from support.folder_models import Gguf

_HIDDEN, _INNER, _HEADS, _VOCABULARY = 64, 64, 2, 4096
_ALIGNMENT = 32
# GGUF's numbers of types (ggml's documentation of the format, version 3).
_U32, _I32, _F32, _STRING, _ARRAY = 4, 5, 6, 8, 9
_NORMAL, _CONTROL = 1, 3


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
    kinds = [_CONTROL if len(token) > 1 and token not in made else _NORMAL for token in tokens]
    metadata: dict[str, tuple[int, Any]] = {
        "general.architecture": (_STRING, "llama"),
        "general.name": (_STRING, "tiny"),
        "llama.context_length": (_U32, context),
        "llama.embedding_length": (_U32, _HIDDEN),
        "llama.block_count": (_U32, 1),
        "llama.feed_forward_length": (_U32, _INNER),
        "llama.attention.head_count": (_U32, _HEADS),
        "llama.attention.head_count_kv": (_U32, _HEADS),
        "llama.attention.layer_norm_rms_epsilon": (_F32, 1e-5),
        "llama.rope.dimension_count": (_U32, _HIDDEN // _HEADS),
        "llama.vocab_size": (_U32, len(tokens)),
        "tokenizer.ggml.model": (_STRING, "gpt2"),
        "tokenizer.ggml.pre": (_STRING, gguf.metadata["tokenizer.ggml.pre"]),
        "tokenizer.ggml.tokens": (_STRING, tokens),
        "tokenizer.ggml.token_type": (_I32, kinds),
        "tokenizer.ggml.merges": (_STRING, gguf.merges),
        "tokenizer.ggml.bos_token_id": (_U32, gguf.metadata["tokenizer.ggml.bos_token_id"]),
        "tokenizer.ggml.eos_token_id": (_U32, gguf.metadata["tokenizer.ggml.eos_token_id"]),
    }
    for name, source in templates.items():
        key = "tokenizer.chat_template" + ("" if name == "default" else f".{name}")
        metadata[key] = (_STRING, source)
    file.write_bytes(_encoded(metadata, _weights(len(tokens))))
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


def _encoded(metadata: dict[str, tuple[int, Any]], tensors: dict[str, Any]) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(_text(key) + _value(kind, value) for key, (kind, value) in metadata.items())
    data = b""
    for name, tensor in tensors.items():
        head += _text(name) + struct.pack("<I", tensor.ndim)
        head += struct.pack(f"<{tensor.ndim}Q", *reversed(tensor.shape)) + struct.pack("<IQ", 0, len(data))
        data += _padded(tensor.tobytes())
    return _padded(head) + data


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _ALIGNMENT)


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(kind: int, value: Any) -> bytes:
    if isinstance(value, list):
        return struct.pack("<IIQ", _ARRAY, kind, len(value)) + b"".join(_plain(kind, one) for one in value)
    return struct.pack("<I", kind) + _plain(kind, value)


def _plain(kind: int, value: Any) -> bytes:
    return _text(value) if kind == _STRING else struct.pack({_U32: "<I", _I32: "<i", _F32: "<f"}[kind], value)
