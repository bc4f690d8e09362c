"""The real ExLlamaV3 on the CPU, with its compiled extension's functions in torch.

The library's scheduler, page table, samplers, filters, cancelling and cache are its own. Only the parts that need
a GPU are replaced: the kernels for unquantised Llama models, and pinned memory. Slow by design.
"""

import importlib.machinery
import os
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import torch

from jan.engine.backends.exllama.v2 import attention

_GIB = 2**30


class ExtensionFunctions:
    """The functions that an unquantised Llama model needs, with the library's arguments."""

    @staticmethod
    def rms_norm(x: Any, weight: Any, out: Any, epsilon: float, bias: float, *others: Any) -> None:
        values = x.float()
        scale = torch.rsqrt(values.pow(2).mean(-1, keepdim=True) + epsilon)
        out.copy_((values * scale * (weight.float() + bias)).to(out.dtype))

    @staticmethod
    def rms_norm_res_in(x: Any, weight: Any, out: Any, residual: Any, epsilon: float, *others: Any) -> None:
        residual += x
        ExtensionFunctions.rms_norm(residual, weight, out, epsilon, *others)

    @staticmethod
    def silu_mul(x: Any, y: Any, out: Any, *others: Any) -> None:
        out.copy_(torch.nn.functional.silu(x.float()) * y.float())

    @staticmethod
    def hgemm(x: Any, weight: Any, out: Any) -> None:
        out.copy_(x.float() @ weight.float())

    @staticmethod
    def rope(
        q: Any, out_q: Any, k: Any, out_k: Any, frequencies: Any, position: int, positions: Any, ids: Any,
        style: int, factor: float, *others: Any,
    ) -> None:  # fmt: skip
        assert ids is None, "plain Llama models only"
        first = positions.view(-1, 1) if positions is not None else torch.tensor([[position]])
        angles = (first + torch.arange(q.shape[1]))[..., None].float() * frequencies.float()
        sines, cosines = (
            (f(torch.cat((angles, angles), -1)) * factor)[:, :, None] for f in (torch.sin, torch.cos)
        )
        for values, out in ((q, out_q), (k, out_k)):
            size = values.shape[-1]
            turned = torch.cat((-values[..., size // 2 :], values[..., : size // 2]), -1).float()
            out.copy_(values.float() * cosines + turned * sines)

    @staticmethod
    def stloader_open_file(name: str) -> str:
        return name

    @staticmethod
    def stloader_close_file(name: str) -> None:
        pass

    @staticmethod
    def stloader_read(name: str, offset: int, size: int, tensor: Any) -> None:
        with Path(name).open("rb") as file:
            file.seek(offset)
            data = bytearray(file.read(size))
        tensor.view(-1).view(torch.uint8).copy_(torch.frombuffer(data, dtype=torch.uint8))

    @staticmethod
    def count_match_tensor(one: Any, other: Any, most: int) -> int:
        length = min(int(most), other.shape[1])
        differ = (one[0, :length] != other[0, :length]).nonzero()
        return int(differ[0]) if len(differ) else length

    @staticmethod
    def generator_stage_decode(
        arena: Any, width: int, tables: Any, lengths: Any, offsets: Any, ids: Any, known: Any, pages: Any, at: Any
    ) -> None:
        rows = len(tables)
        assert not offsets
        table = arena[: rows * width].view(rows, width).zero_()
        for row, (pages_of, length) in enumerate(zip(tables, lengths, strict=True)):
            count = min(width, pages_of.shape[-1])
            table[row, :count] = pages_of[0, :count]
            arena[rows * width + row] = length
        for row in range(len(known)):
            ids[row, 0] = known[row][0, lengths[row]]
            pages[row][0, at[row]] = ids[row, 0]

    @staticmethod
    def apply_logit_bitmask(logits: Any, out: Any, mask: Any) -> None:
        bits = (mask[..., None] >> torch.arange(32, dtype=torch.int32)) & 1
        allowed = torch.zeros(logits.shape, dtype=torch.bool)
        width = min(logits.shape[-1], bits[0].numel())
        allowed[:, :width] = bits.flatten(1)[:, :width].bool()
        out.copy_(logits.masked_fill(~allowed, float("-inf")))

    @staticmethod
    def gumbel_noise_f32(logits: Any, out: Any, seed: int) -> None:
        chances = torch.rand(logits.shape, generator=torch.Generator().manual_seed(seed))
        out.copy_(logits.float() - torch.log(-torch.log(chances.clamp(1e-9, 1 - 1e-7))))

    gumbel_noise_f16 = gumbel_noise_f32

    @staticmethod
    def gumbel_noise_log(chances: Any, out: Any, seed: int) -> None:
        ExtensionFunctions.gumbel_noise_f32(chances.log(), out, seed)


class _Extension(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _NotHere


class _NotHere:
    """A function or class of the extension that such a model makes but never calls."""

    def __init__(self, *arguments: Any) -> None:
        pass


def _extension() -> types.ModuleType:
    module = _Extension("exllamav3_ext")
    # The library looks whether a compiled one is installed, by the name of its file.
    suffix = importlib.machinery.EXTENSION_SUFFIXES[-1]
    loader = importlib.machinery.ExtensionFileLoader("exllamav3_ext", f"exllamav3_ext{suffix}")
    module.__spec__ = importlib.machinery.ModuleSpec("exllamav3_ext", loader, origin=f"exllamav3_ext{suffix}")
    for name, function in vars(ExtensionFunctions).items():
        if isinstance(function, staticmethod):
            setattr(module, name, function.__func__)
    return module


def _unpinned(make: Any) -> Any:
    return lambda *arguments, pin_memory=False, **named: make(*arguments, **named)


class _Cuda:
    def __getattr__(self, name: str) -> Any:
        return getattr(torch.cuda, name)

    @staticmethod
    def synchronize(*arguments: Any) -> None:
        pass


class _Torch:
    """torch as a machine with a GPU has it, for the modules that pin memory, wait for the GPU and multiply."""

    cuda = _Cuda()
    empty = staticmethod(_unpinned(torch.empty))
    empty_like = staticmethod(_unpinned(torch.empty_like))
    zeros = staticmethod(_unpinned(torch.zeros))

    @staticmethod
    def matmul(x: Any, weight: Any, *, out: Any) -> None:
        """Multiply half floats as float32, because a CPU without half floats is twenty times slower."""
        ExtensionFunctions.hgemm(x, weight, out)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def _attend(arguments: Any) -> Any:
    assert arguments.k_cache is not None
    assert arguments.sinks is None
    window = (-1, -1)
    return attention.paged_reference(
        arguments.q, arguments.k_cache, arguments.v_cache, (arguments.k, arguments.v),
        arguments.cache_seqlens, arguments.block_table,
        (arguments.sm_scale, arguments.causal, window, arguments.softcap),
    )  # fmt: skip


def open_on_cpu() -> None:
    """Import the library with the stand-ins in place, once in a process."""
    if "exllamav3" in sys.modules:
        return
    sys.modules["exllamav3_ext"] = _extension()
    # Graphs and fused kernels are the GPU's; the library's other paths come to the same.
    os.environ.update(EXL3_BC_ATTN="0", EXL3_FUSED_SAMPLER="0", EXL3_GRAPHS="0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import exllamav3
        from exllamav3.generator import generator, job, pagetable
        from exllamav3.loader.safetensors import SafetensorsCollection
        from exllamav3.modules import embedding
        from exllamav3.modules.attention_fn import dispatch
        from exllamav3.modules.quant import fp16
    generator.torch = job.torch = pagetable.torch = embedding.torch = fp16.torch = _Torch()
    dispatch.attn_fns[:] = [_attend]
    SafetensorsCollection.begin_deferred_load = lambda self, **options: None
    SafetensorsCollection.end_deferred_load = lambda self: None
    load = exllamav3.Model.load

    def load_on_cpu(model: Any, *, callback: Any, **options: Any) -> None:
        load(model, device="cpu")
        callback(1, 1)

    exllamav3.Model.load = load_on_cpu


class CpuDevice:
    """A machine with one GPU, whose memory is main memory."""

    def __init__(self, memory: int = 4 * _GIB) -> None:
        self._memory = memory

    def check(self) -> None:
        pass

    def open(self) -> str:
        open_on_cpu()
        return "torch"

    def free_bytes(self) -> list[int]:
        return [self._memory]

    def empty_cache(self) -> None:
        pass
