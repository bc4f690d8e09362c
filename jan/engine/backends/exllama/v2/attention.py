"""Paged attention where no flash-attn package is installed: what the library calls of it, through Triton.

The library asks for the ``flash_attn`` package when it is imported: ``install`` before, ``remove`` after. On
tensors that are not on a GPU the same is computed by plain torch, in float32; so is what only a vision tower
or a forward pass without pages needs.
"""

from collections.abc import Mapping, MutableMapping
from importlib.machinery import ModuleSpec
from itertools import pairwise
from types import ModuleType
from typing import Any

import torch

# Which interface of flash-attn this is; the library wants 2.5.7 or later.
_VERSION = "2.8.3"
_NAMES = ("flash_attn", "flash_attn_2_cuda")

Window = tuple[int, int]


def install(modules: MutableMapping[str, ModuleType]) -> dict[str, ModuleType]:
    """Stand in for flash-attn among the loaded modules; gives back what stood there."""
    displaced = {name: modules[name] for name in _NAMES if name in modules}
    for name in _NAMES:
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        modules[name] = module
    # The second one is for tensor-parallel models alone, which this engine has not.
    package = modules["flash_attn"]
    package.__dict__["__version__"] = _VERSION
    for function in (flash_attn_func, flash_attn_varlen_func, flash_attn_with_kvcache):
        package.__dict__[function.__name__] = function
    return displaced


def remove(modules: MutableMapping[str, ModuleType], displaced: Mapping[str, ModuleType]) -> None:
    """Take the stand-in away again, so that nobody else takes it for the whole package."""
    for name in _NAMES:
        modules.pop(name, None)
    modules.update(displaced)


def flash_attn_with_kvcache(
    q: Any,
    k_cache: Any,
    v_cache: Any,
    k: Any = None,
    v: Any = None,
    *,
    cache_seqlens: Any,
    block_table: Any = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: Window = (-1, -1),
    softcap: float = 0.0,
) -> Any:
    """Attention of new tokens ``q`` (batch, tokens, heads, size) over a cache of pages (pages, page, heads,
    size); ``k`` and ``v`` are put into it first. ``cache_seqlens``: tokens of each sequence that are in it
    before; ``block_table``: its pages."""
    scale = softmax_scale if softmax_scale is not None else q.shape[-1] ** -0.5
    if isinstance(cache_seqlens, int):
        cache_seqlens = torch.full((q.shape[0],), cache_seqlens, dtype=torch.int32, device=q.device)
    if block_table is None:  # each row of the cache is one long page
        block_table = torch.arange(q.shape[0], dtype=torch.int32, device=q.device)[:, None]
    if not q.is_cuda:
        new = (k, v) if k is not None else None
        return paged_reference(
            q, k_cache, v_cache, new, cache_seqlens, block_table, (scale, causal, window_size, softcap)
        )
    from jan.engine.backends.exllama.v2 import attention_triton as triton_kernels

    if k is not None:
        triton_kernels.append(k, v, k_cache, v_cache, block_table, cache_seqlens)
    added = 0 if k is None else k.shape[1]
    return triton_kernels.attend(
        q,
        k_cache,
        v_cache,
        block_table,
        cache_seqlens,
        added,
        triton_kernels.Rules(scale=scale, causal=causal, window=window_size[0], softcap=softcap),
    )


def paged_reference(
    q: Any,
    k_cache: Any,
    v_cache: Any,
    new: Any,
    lengths: Any,
    pages: Any,
    rules: tuple[float, bool, Window, float],
) -> Any:
    """The same sequence by sequence, in float32: for the CPU, and to check the kernels by."""
    page = k_cache.shape[1]
    answers = []
    for index in range(q.shape[0]):
        known, own = int(lengths[index]), pages[index].long()
        if new is not None:
            at = torch.arange(known, known + new[0].shape[1], device=q.device)
            for cache, values in ((k_cache, new[0]), (v_cache, new[1])):
                cache[own[at // page], at % page] = values[index].to(cache.dtype)
            known += new[0].shape[1]
        used = own[: -(-known // page)]
        keys, values = (cache[used].flatten(0, 1)[:known] for cache in (k_cache, v_cache))
        answers.append(reference(q[index], keys, values, *rules))
    return torch.stack(answers)


def reference(q: Any, k: Any, v: Any, scale: float, causal: bool, window: Window, softcap: float) -> Any:
    """Attention of one sequence: q (tokens, heads, size), k and v (all tokens, key heads, size)."""
    tokens, heads, _ = q.shape
    total, key_heads, _ = k.shape
    k, v = (x.repeat_interleave(heads // key_heads, 1).float() for x in (k, v))
    scores = torch.einsum("thd,shd->hts", q.float(), k) * scale
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    at = torch.arange(tokens, device=q.device)[:, None] + total - tokens
    other = torch.arange(total, device=q.device)[None, :]
    seen = torch.ones((tokens, total), dtype=torch.bool, device=q.device)
    if causal:
        seen &= other <= at
    if window[0] >= 0:
        seen &= other >= at - window[0]
        if not causal and window[1] >= 0:
            seen &= other <= at + window[1]
    shares = torch.softmax(scores.masked_fill(~seen, float("-inf")), -1).nan_to_num(0.0)
    return torch.einsum("hts,shd->thd", shares, v).to(q.dtype)


def flash_attn_func(
    q: Any,
    k: Any,
    v: Any,
    *,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: Window = (-1, -1),
    softcap: float = 0.0,
) -> Any:
    """Attention without pages: q (batch, tokens, heads, size), k and v (batch, all tokens, key heads, size)."""
    scale = softmax_scale if softmax_scale is not None else q.shape[-1] ** -0.5
    rules = (scale, causal, window_size, softcap)
    return torch.stack([reference(q[at], k[at], v[at], *rules) for at in range(q.shape[0])])


def flash_attn_varlen_func(
    q: Any, k: Any, v: Any, cu_seqlens_q: Any, cu_seqlens_k: Any, *lengths: int, **rules: Any
) -> Any:
    """The same for sequences of several lengths end to end, which begin where the ``cu_seqlens`` say."""
    starts, key_starts = cu_seqlens_q.tolist(), cu_seqlens_k.tolist()
    pairs = zip(pairwise(starts), pairwise(key_starts), strict=True)
    return torch.cat(
        [flash_attn_func(q[None, a:b], k[None, c:d], v[None, c:d], **rules)[0] for (a, b), (c, d) in pairs]
    )
