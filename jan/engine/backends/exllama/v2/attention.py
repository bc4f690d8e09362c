"""A stand-in for the flash-attn package: the functions that ExLlamaV2 calls, over our own Triton kernels.

The library looks for ``flash_attn`` when it is imported: call ``install`` before that and ``remove`` after.
Tensors that are not on a GPU are computed by plain torch in float32, and so is attention without pages, which only
vision towers use.

Shapes: ``batch`` sequences, ``tokens`` new tokens of each, ``heads`` query heads, ``key_heads`` key and value
heads (grouped-query attention: ``heads`` is a multiple), ``size`` numbers in a head, ``pages`` pages of ``page``
tokens.
"""

from collections.abc import Mapping, MutableMapping
from importlib.machinery import ModuleSpec
from itertools import pairwise
from types import ModuleType
from typing import Any

import torch

# The version of flash-attn's interface. The library wants 2.5.7 or later.
_VERSION = "2.8.3"
_NAMES = ("flash_attn", "flash_attn_2_cuda")

Window = tuple[int, int]


def install(modules: MutableMapping[str, ModuleType]) -> dict[str, ModuleType]:
    """Put the stand-in among the loaded modules; returns the modules that it replaces."""
    displaced = {name: modules[name] for name in _NAMES if name in modules}
    for name in _NAMES:
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        modules[name] = module
    # The second module stays empty: only tensor-parallel models need it, and this engine has none.
    package = modules["flash_attn"]
    package.__dict__["__version__"] = _VERSION
    for function in (flash_attn_func, flash_attn_varlen_func, flash_attn_with_kvcache):
        package.__dict__[function.__name__] = function
    return displaced


def remove(modules: MutableMapping[str, ModuleType], displaced: Mapping[str, ModuleType]) -> None:
    """Remove the stand-in and put the replaced modules back, so that nobody takes it for the whole package."""
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
    """Append new keys and values to a paged cache, and attend over it: flash-attn's function of this name.

    Args:
        q: float16 [batch, tokens, heads, size].
        k_cache, v_cache: float16 [pages, page, key_heads, size]; written in place.
        k, v: the new tokens' keys and values, [batch, tokens, key_heads, size], or None if they are in the cache.
        cache_seqlens: int32 [batch]: tokens of each sequence in the cache before; or one number for all.
        block_table: int32 [batch, pages of a sequence]: page numbers. None: row i of the cache is sequence i.
        softmax_scale: factor of the scores; default ``size ** -0.5``.
        causal: a token sees no later tokens.
        window_size: how many tokens a token sees before and after itself; -1: all.
        softcap: limits scores to ``softcap * tanh(score / softcap)``; 0: no limit.

    Returns:
        [batch, tokens, heads, size], dtype of ``q``.
    """
    scale = softmax_scale if softmax_scale is not None else q.shape[-1] ** -0.5
    if isinstance(cache_seqlens, int):
        cache_seqlens = torch.full((q.shape[0],), cache_seqlens, dtype=torch.int32, device=q.device)
    if block_table is None:  # then each row of the cache is one long page
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
    """Compute the same in float32, one sequence after another: for the CPU, and to check the kernels.

    Args:
        q: [batch, tokens, heads, size].
        k_cache, v_cache: [pages, page, key_heads, size]; written in place.
        new: the new tokens' keys and values, each [batch, tokens, key_heads, size], or None.
        lengths: int32 [batch]: tokens of each sequence in the cache before.
        pages: int32 [batch, pages of a sequence]: page numbers.
        rules: scale, causal, window and softcap, as in ``flash_attn_with_kvcache``.

    Returns:
        [batch, tokens, heads, size], dtype of ``q``.
    """
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
    """Compute attention of one sequence in float32.

    Args:
        q: [tokens, heads, size]: the sequence's last tokens.
        k, v: [all tokens, key_heads, size].
        scale, causal, window, softcap: as in ``flash_attn_with_kvcache``.

    Returns:
        [tokens, heads, size], dtype of ``q``.
    """
    tokens, heads, _ = q.shape
    total, key_heads, _ = k.shape
    k, v = (x.repeat_interleave(heads // key_heads, 1).float() for x in (k, v))
    scores = torch.einsum("thd,shd->hts", q.float(), k) * scale  # [heads, tokens, all tokens]
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    at = torch.arange(tokens, device=q.device)[:, None] + total - tokens  # positions of q, [tokens, 1]
    other = torch.arange(total, device=q.device)[None, :]  # positions of k, [1, all tokens]
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
    """Attend without pages: ``q`` [batch, tokens, heads, size], ``k`` and ``v`` [batch, all tokens, key_heads,
    size].

    The other arguments and the result are as in ``flash_attn_with_kvcache``.
    """
    scale = softmax_scale if softmax_scale is not None else q.shape[-1] ** -0.5
    rules = (scale, causal, window_size, softcap)
    return torch.stack([reference(q[at], k[at], v[at], *rules) for at in range(q.shape[0])])


def flash_attn_varlen_func(
    q: Any, k: Any, v: Any, cu_seqlens_q: Any, cu_seqlens_k: Any, *lengths: int, **rules: Any
) -> Any:
    """Attend for sequences of different lengths that are concatenated.

    Args:
        q: [tokens of all sequences, heads, size].
        k, v: [all tokens of all sequences, key_heads, size].
        cu_seqlens_q, cu_seqlens_k: int32 [batch + 1]: where each sequence begins, and the total.
        lengths: the longest sequences of flash-attn's signature, not used.
        rules: as in ``flash_attn_func``.

    Returns:
        [tokens of all sequences, heads, size], dtype of ``q``.
    """
    starts, key_starts = cu_seqlens_q.tolist(), cu_seqlens_k.tolist()
    pairs = zip(pairwise(starts), pairwise(key_starts), strict=True)
    return torch.cat(
        [flash_attn_func(q[None, a:b], k[None, c:d], v[None, c:d], **rules)[0] for (a, b), (c, d) in pairs]
    )
