"""Read small tensors of a GGUF file as float32. Source: ggml's documentation of its blocks of numbers."""

import mmap
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy

from jan.engine.model_trials.gguf_header import GgufTensor, read_gguf_layout
from jan.errors import ConfigurationError

Array = Any


class _Blocks(NamedTuple):
    """How numbers are stored: ``items`` of them in ``size`` bytes. ``read``: from uint8 [blocks, size] to float32
    [blocks, items]."""

    name: str
    items: int
    size: int
    read: Callable[[Array], Array]


def _scales(blocks: Array, at: int) -> Array:
    """Return the float16 at this byte of each block, as float32 [blocks, 1]."""
    return numpy.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(numpy.float32)


def _bfloat16(blocks: Array) -> Array:
    return (numpy.ascontiguousarray(blocks).view("<u2").astype("<u4") << 16).view("<f4")


def _q8_0(blocks: Array) -> Array:
    return _scales(blocks, 0) * numpy.ascontiguousarray(blocks[:, 2:]).view(numpy.int8)


def _q4_0(blocks: Array) -> Array:
    quants = blocks[:, 2:]
    return _scales(blocks, 0) * (numpy.hstack([quants & 15, quants >> 4]).astype(numpy.float32) - 8)


def _packed_scales(packed: Array) -> tuple[Array, Array]:
    """Return the scales and the minima of 8 groups, 6 bits each, from uint8 [blocks, 12]."""
    low, high, both = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = numpy.hstack([low & 63, (both & 15) | ((low >> 6) << 4)])
    minima = numpy.hstack([high & 63, (both >> 4) | ((high >> 6) << 4)])
    return scales.astype(numpy.float32), minima.astype(numpy.float32)


def _grouped(blocks: Array, quants: Array) -> Array:
    """Return the numbers of 8 groups with scale and minimum. ``quants``: [blocks, 8, 32]."""
    scales, minima = _packed_scales(blocks[:, 4:16])
    steps, offsets = _scales(blocks, 0) * scales, _scales(blocks, 2) * minima
    return (steps[:, :, None] * quants - offsets[:, :, None]).reshape(len(blocks), 256)


def _halves(quants: Array) -> Array:
    """Return the low and the high 4 bits of each 32 bytes in turn: [blocks, 8, 32]."""
    pairs = quants.reshape(len(quants), 4, 32)
    return numpy.stack([pairs & 15, pairs >> 4], axis=2).reshape(len(quants), 8, 32)


def _q4_k(blocks: Array) -> Array:
    return _grouped(blocks, _halves(blocks[:, 16:]).astype(numpy.float32))


def _q5_k(blocks: Array) -> Array:
    fifth = (blocks[:, None, 16:48] >> numpy.arange(8, dtype=numpy.uint8)[None, :, None]) & 1
    return _grouped(blocks, (_halves(blocks[:, 48:]) + 16 * fifth).astype(numpy.float32))


def _q6_k(blocks: Array) -> Array:
    count = len(blocks)
    low = blocks[:, :128].reshape(count, 2, 2, 32)
    high = blocks[:, 128:192].reshape(count, 2, 1, 32)
    low = numpy.concatenate([low & 15, low >> 4], axis=2)
    high = (high >> numpy.array([0, 2, 4, 6], numpy.uint8)[None, None, :, None]) & 3
    quants = (low | (high << 4)).astype(numpy.float32).reshape(count, 16, 16) - 32
    scales = numpy.ascontiguousarray(blocks[:, 192:208]).view(numpy.int8).astype(numpy.float32)
    return (_scales(blocks, 208)[:, :, None] * scales[:, :, None] * quants).reshape(count, 256)


#: By ggml's numbers of types.
_KINDS: Mapping[int, _Blocks] = MappingProxyType(
    {
        0: _Blocks("F32", 1, 4, lambda blocks: blocks.view("<f4")),
        1: _Blocks("F16", 1, 2, lambda blocks: blocks.view("<f2").astype(numpy.float32)),
        2: _Blocks("Q4_0", 32, 18, _q4_0),
        8: _Blocks("Q8_0", 32, 34, _q8_0),
        12: _Blocks("Q4_K", 256, 144, _q4_k),
        13: _Blocks("Q5_K", 256, 176, _q5_k),
        14: _Blocks("Q6_K", 256, 210, _q6_k),
        30: _Blocks("BF16", 1, 2, _bfloat16),
    }
)


def read_gguf_tensors(file: Path, names: Collection[str]) -> dict[str, Array]:
    """Return those of these tensors that are in the file, each float32 with its rows first.

    Raises ConfigurationError for a wrong header, or a type of numbers that is not known here.
    """
    layout = read_gguf_layout(file)
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return {name: _read(data, layout[name], f"Tensor {name} of {file}") for name in names if name in layout}


def _read(data: mmap.mmap, tensor: GgufTensor, named: str) -> Array:
    blocks = _KINDS.get(tensor.kind)
    if blocks is None:
        allowed = ", ".join(kind.name for kind in _KINDS.values())
        raise ConfigurationError(f"{named} is of ggml's type {tensor.kind}; allowed here: {allowed}.")
    count = -(-tensor.numbers // blocks.items)
    end = tensor.begin + count * blocks.size
    if tensor.shape[0] % blocks.items or end > len(data):
        raise ConfigurationError(f"{named} is cut off.")
    stored = numpy.frombuffer(data[tensor.begin : end], numpy.uint8).reshape(count, blocks.size)
    return blocks.read(stored).reshape(tensor.shape[::-1]).astype(numpy.float32)
