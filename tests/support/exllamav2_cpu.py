"""The real ExLlamaV2, on the GPU if there is one, else with its compiled extension's functions in torch.

The library's scheduler, page table, sampling loop, cancelling and cache are its own. Only the parts that need a
GPU are replaced: CUDA streams, and the kernels for unquantised models. Slow by design.
"""

import importlib.machinery
import sys
import types
import warnings
from itertools import pairwise
from typing import Any

import torch

from jan.engine.backends.exllama.common.device import Device
from jan.engine.backends.exllama.v2 import attention
from jan.engine.backends.exllama.v2.device import CudaDevice

_GIB = 2**30


def rms_norm(x: Any, weight: Any, out: Any, epsilon: float) -> None:
    values = x.float()
    scale = torch.rsqrt(values.pow(2).mean(-1, keepdim=True) + epsilon)
    out.copy_((values * scale * weight.float()).to(out.dtype))


def rms_norm_(x: Any, weight: Any, epsilon: float) -> None:
    rms_norm(x.clone(), weight, x, epsilon)


def rope_(x: Any, sin: Any, cos: Any, past: int, heads: int, size: int, offsets: Any, neox: bool) -> None:
    batch, length = x.shape[:2]
    heads_view = x.view(batch, length, heads, size)
    positions = torch.arange(length).view(1, length) + past
    if not offsets.is_meta:
        positions = positions + offsets.view(-1, 1).long()
    positions = positions.clamp(min=0).expand(batch, length)
    sines, cosines = (table[0, 0][positions].unsqueeze(2).float() for table in (sin, cos))
    values = heads_view.float()
    if neox:
        turned = torch.cat((-values[..., size // 2 :], values[..., : size // 2]), -1)
    else:
        turned = torch.stack((-values[..., 1::2], values[..., ::2]), -1).flatten(-2)
    heads_view.copy_((values * cosines + turned * sines).to(x.dtype))


def stloader_read(filename: str, offset: int, size: int, tensor: Any) -> None:
    with open(filename, "rb") as file:
        file.seek(offset)
        data = bytearray(file.read(size))
    tensor.view(-1).view(torch.uint8).copy_(torch.frombuffer(data, dtype=torch.uint8))


def count_match(one: Any, other: Any, most: int) -> int:
    length = min(int(most), other.shape[1])
    if length <= 0:
        return 0
    differ = (one[0, :length] != other[0, :length]).nonzero()
    return int(differ[0]) if len(differ) else length


def sample_basic(logits: Any, temperature: float, top_k: int, top_p: float, *rest: Any) -> None:
    _top_a, min_p, _tfs, _typical, draw, token, probability = rest[:7]
    assert logits.shape[0] == 1, "one job at a time"
    row = logits[0, 0].double()
    if temperature < 0.01:
        temperature, top_k = 1.0, 1
    chances = torch.softmax(row / temperature, -1)
    # Sorting the whole vocabulary is most of what a tiny model's step would take.
    chances, order = chances.topk(top_k) if top_k > 0 else chances.sort(descending=True)
    count = len(chances)
    if 0 < top_p < 1:
        count = min(count, int((chances[:count].cumsum(0) < top_p).sum()) + 1)
    if 0 < min_p < 1:
        count = min(count, max(1, int((chances[:count] >= min_p * chances[0]).sum())))
    kept = chances[:count] / chances[:count].sum()
    at = min(int((kept.cumsum(0) <= draw).sum()), count - 1)
    token[0, 0], probability[0, 0] = order[at], kept[at]


def cache_rotate(cache: Any, order: Any, buffer: Any) -> None:
    pages = order.tolist()
    first = cache[pages[0]].clone()
    for target, source in pairwise(pages):
        cache[target].copy_(cache[source])
    cache[pages[-1]].copy_(first)


def _extension() -> types.ModuleType:
    module = types.ModuleType("exllamav2_ext")
    module.__spec__ = importlib.machinery.ModuleSpec("exllamav2_ext", None)
    for function in (rms_norm, rms_norm_, rope_, stloader_read, count_match, sample_basic, cache_rotate):
        setattr(module, function.__name__, function)
    return module


class _Stream:
    def __init__(self, *arguments: Any) -> None:
        pass


class _Cuda:
    Stream = _Stream

    @staticmethod
    def synchronize(*arguments: Any) -> None:
        pass

    set_stream = empty_cache = synchronize


class _Torch:
    """torch as a machine with one GPU has it, for the two modules that ask for streams."""

    cuda = _Cuda()

    @staticmethod
    def device(*arguments: Any) -> Any:
        return torch.device("cpu")

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def _on_cpu(index: int) -> str:
    return "cpu"


def _leave(tensor: Any, device: Any, non_blocking: bool = False) -> Any:
    return tensor


def open_on_cpu() -> None:
    """Import the library with the stand-ins in place, once in a process."""
    if "exllamav2" in sys.modules:
        return
    displaced = attention.install(sys.modules)
    sys.modules["exllamav2_ext"] = _extension()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import exllamav2.generator
        import exllamav2.stloader
    attention.remove(sys.modules, displaced)
    for name, module in [*sys.modules.items()]:
        if name.startswith("exllamav2") and module is not None:
            for function, replacement in (("_torch_device", _on_cpu), ("safe_move_tensor", _leave)):
                if hasattr(module, function):
                    setattr(module, function, replacement)
    exllamav2.device.torch = exllamav2.stloader.torch = exllamav2.model.torch = _Torch()
    exllamav2.device.set_device_streams = exllamav2.model.set_device_streams = _Cuda.synchronize


class CpuDevice:
    """A machine with one GPU, whose memory is main memory."""

    def __init__(self, memory: int = 4 * _GIB) -> None:
        self._memory = memory

    def check(self) -> None:
        pass

    def open(self) -> str:
        open_on_cpu()
        # The library does this, but only for the thread that imports it first; two that wait for each other on
        # a busy machine take ten times as long.
        torch.set_num_threads(1)
        return "torch"

    def free_bytes(self) -> list[int]:
        return [self._memory]

    def empty_cache(self) -> None:
        pass


class SmallCudaDevice(CudaDevice):
    """The real GPU with less memory."""

    def __init__(self, memory: int) -> None:
        super().__init__()
        self._memory = memory

    def free_bytes(self) -> list[int]:
        return [self._memory]


def any_device(memory: int = 4 * _GIB) -> Device:
    """Return the device that tests of the engine run on: a GPU if there is one."""
    return SmallCudaDevice(memory) if torch.cuda.is_available() else CpuDevice(memory)
