"""Triton kernels for attention over a paged key-value cache; the same kernel serves prefill and decode.

Online softmax over tiles of keys as in FlashAttention-2 (Dao 2023). Where there
are few rows, as in decode, a long sequence is split into parts for several programs, whose results are combined
afterwards, as in Flash-Decoding (Dao et al. 2023). The cache is paged as in vLLM (Kwon et al. 2023). The rows of a
program are (token, head) pairs of one key head, so the query heads that share a key head read its keys once
(grouped-query attention, Ainslie et al. 2023).

Names of sizes in kernels: ``D`` numbers in a head, ``DP`` the same padded to a power of two, ``BM`` rows of a
program, ``BN`` keys of a tile, ``PAGE`` tokens of a page, ``group`` query heads that share a key head.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

# A part has at least this many tiles of keys, and a sequence is split into at most this many parts.
_MIN_TILES, _MAX_PARTS = 4, 64


class Rules(NamedTuple):
    """The settings of one attention call: scale and mask of its scores.

    ``scale``: factor of the scores. ``causal``: a token sees no later tokens. ``window``: how many tokens back a
    token sees; -1: all. ``softcap``: limits scores to ``softcap * tanh(score / softcap)``; 0: no limit.
    """

    scale: float
    causal: bool
    window: int
    softcap: float


@triton.jit(do_not_specialize=["tokens"])
def _append_kernel(
    new_k, new_v, k_cache, v_cache, table, lengths, tokens, numbers,
    new_batch, new_token, cache_page, cache_slot, table_row, PAGE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    sequence = tl.program_id(0) // tokens
    token = tl.program_id(0) % tokens
    position = tl.load(lengths + sequence) + token
    page = tl.load(table + sequence * table_row + position // PAGE).to(tl.int64)
    target = page * cache_page + (position % PAGE) * cache_slot
    source = sequence.to(tl.int64) * new_batch + token * new_token
    for offset in range(0, numbers, BLOCK):
        at = offset + tl.arange(0, BLOCK)
        there = at < numbers
        tl.store(k_cache + target + at, tl.load(new_k + source + at, mask=there), mask=there)
        tl.store(v_cache + target + at, tl.load(new_v + source + at, mask=there), mask=there)


@triton.jit
def _bounds(
    length, tokens, group, first_row, window, parts, part,
    BM: tl.constexpr, BN: tl.constexpr, CAUSAL: tl.constexpr, WINDOW: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    # Returns the range [low, high) of keys that a program reads. ``low`` is the beginning of a tile.
    low, high = 0, length
    if CAUSAL:
        last = tl.minimum((first_row + BM - 1) // group, tokens - 1)
        high = tl.minimum(length, length - tokens + last + 1)
    if WINDOW:
        low = tl.maximum(0, length - tokens + first_row // group - window) // BN * BN
    if SPLIT:
        share = ((high - low + parts - 1) // parts + BN - 1) // BN * BN
        low = low + part * share
        high = tl.minimum(high, low + share)
    return low, high


@triton.jit
def _scores(
    q, k, scale, softcap, keys, positions, valid, window,
    CAP: tl.constexpr, CAUSAL: tl.constexpr, WINDOW: tl.constexpr,
):  # fmt: skip
    # q [BM, DP], k [BN, DP] -> float32 [BM, BN]: scores for exp2; -inf where a row does not see a key.
    scores = tl.dot(q, tl.trans(k)) * scale
    if CAP:
        grown = tl.exp2(scores * (2.0 * 1.4426950408889634 / softcap))
        scores = softcap * (1.0 - 2.0 / (grown + 1.0))  # softcap * tanh(scores / softcap)
    if CAUSAL:
        valid = valid & (keys[None, :] <= positions[:, None])
    if WINDOW:
        valid = valid & (keys[None, :] >= positions[:, None] - window)
    return tl.where(valid, scores * 1.4426950408889634, float("-inf"))


@triton.jit(do_not_specialize=["tokens", "added", "parts"])
def _attend_kernel(
    q, k_cache, v_cache, out, sums, table, lengths, added, scale, softcap, window,
    tokens, group, key_heads, parts, q_batch, q_token, q_head, cache_page, cache_slot, cache_head, table_row,
    out_batch, out_token, out_head, out_part,
    D: tl.constexpr, DP: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, PAGE: tl.constexpr,
    CAP: tl.constexpr, WINDOW: tl.constexpr, CAUSAL: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    # Grid: (blocks of rows, batch * key heads, parts). ``out`` is [parts, batch, tokens, heads, D] if SPLIT, and
    # then ``sums`` is the log2 of the softmax's denominator, float32 [parts, batch, tokens, heads].
    first_row, part = tl.program_id(0) * BM, tl.program_id(2)
    sequence, key_head = tl.program_id(1) // key_heads, tl.program_id(1) % key_heads
    length = tl.load(lengths + sequence) + added
    rows = first_row + tl.arange(0, BM)
    token, head = rows // group, key_head * group + rows % group
    row_there, size = rows < tokens * group, tl.arange(0, DP)
    there = row_there[:, None] & (size < D)[None, :]
    queries = q + sequence.to(tl.int64) * q_batch + token[:, None] * q_token + head[:, None] * q_head
    query = tl.load(queries + size[None, :], mask=there, other=0.0)
    low, high = _bounds(length, tokens, group, first_row, window, parts, part, BM, BN, CAUSAL, WINDOW, SPLIT)
    highest = tl.full([BM], float("-inf"), tl.float32)
    total = tl.zeros([BM], tl.float32)
    mixed = tl.zeros([BM, DP], tl.float32)
    for start in range(low, high, BN):
        keys = start + tl.arange(0, BN)
        page = tl.load(table + sequence * table_row + start // PAGE).to(tl.int64)  # BN divides PAGE
        at = page * cache_page + key_head * cache_head + (keys % PAGE)[:, None] * cache_slot + size[None, :]
        known = (keys < high)[:, None] & (size < D)[None, :]
        k = tl.load(k_cache + at, mask=known, other=0.0)
        valid = (keys < high)[None, :] & row_there[:, None]
        scores = _scores(
            query, k, scale, softcap, keys, length - tokens + token, valid, window, CAP, CAUSAL, WINDOW
        )
        new_highest = tl.maximum(highest, tl.max(scores, 1))
        base = tl.where(new_highest == float("-inf"), 0.0, new_highest)
        shares, shrink = tl.exp2(scores - base[:, None]), tl.exp2(highest - base)
        total = total * shrink + tl.sum(shares, 1)
        v = tl.load(v_cache + at, mask=known, other=0.0)
        mixed = mixed * shrink[:, None] + tl.dot(shares.to(v.dtype), v)
        highest = new_highest
    divisor = tl.where(total == 0.0, 1.0, total)
    place = sequence.to(tl.int64) * out_batch + token * out_token + head * out_head + part.to(tl.int64) * out_part
    if SPLIT:
        seen = tl.where(total == 0.0, float("-inf"), highest + tl.log2(divisor))
        tl.store(sums + place // D, seen, mask=row_there)
    mixed = (mixed / divisor[:, None]).to(out.dtype.element_ty)
    tl.store(out + place[:, None] + size[None, :], mixed, mask=there)


@triton.jit(do_not_specialize=["parts"])
def _combine_kernel(
    partial, sums, out, parts, part_size,
    D: tl.constexpr, DP: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    # Grid: (batch * tokens * heads). Weights each part's result by its share of the denominator.
    row = tl.program_id(0).to(tl.int64)
    part, size = tl.arange(0, PARTS), tl.arange(0, DP)
    there = part < parts
    seen = tl.load(sums + part.to(tl.int64) * (part_size // D) + row, mask=there, other=float("-inf"))
    highest = tl.max(seen, 0)
    weights = tl.exp2(seen - tl.where(highest == float("-inf"), 0.0, highest))
    at = part.to(tl.int64)[:, None] * part_size + row * D + size[None, :]
    values = tl.load(partial + at, mask=there[:, None] & (size < D)[None, :], other=0.0)
    total = tl.sum(weights, 0)
    mixed = tl.sum(values * weights[:, None], 0) / tl.where(total == 0.0, 1.0, total)
    tl.store(out + row * D + size, mixed.to(out.dtype.element_ty), mask=size < D)


def append(k: Any, v: Any, k_cache: Any, v_cache: Any, table: Any, lengths: Any) -> None:
    """Write the new tokens' keys and values into their pages.

    Args:
        k, v: float16 [batch, tokens, key_heads, size].
        k_cache, v_cache: the same dtype, [pages, page, key_heads, size]; written in place.
        table: int32 [batch, pages of a sequence]: page numbers.
        lengths: int32 [batch]: tokens of each sequence in the cache before.
    """
    k, v = k.contiguous(), v.contiguous()
    batch, tokens, heads, size = k.shape
    numbers = heads * size
    _append_kernel[(batch * tokens,)](
        k, v, k_cache, v_cache, table, lengths, tokens, numbers,
        k.stride(0), k.stride(1), k_cache.stride(0), k_cache.stride(1), table.stride(0),
        PAGE=k_cache.shape[1], BLOCK=min(1024, triton.next_power_of_2(numbers)), num_warps=4,
    )  # fmt: skip


def attend(
    q: Any, k_cache: Any, v_cache: Any, table: Any, lengths: Any, added: int, rules: Rules, parts: int = 0
) -> Any:
    """Attend over the pages of each sequence.

    Args:
        q: float16 [batch, tokens, heads, size]: the last tokens of each sequence.
        k_cache, v_cache: the same dtype, [pages, page, key_heads, size].
        table: int32 [batch, pages of a sequence]: page numbers.
        lengths: int32 [batch]: tokens of each sequence in the cache, without ``added``.
        added: tokens of each sequence that ``append`` has just written.
        rules: how scores are computed and masked.
        parts: number of parts that each sequence is split into; 0: as many as keep the GPU busy.

    Returns:
        [batch, tokens, heads, size], dtype of ``q``.

    Raises:
        ValueError: if the page is not a multiple of 16 tokens.
    """
    batch, tokens, heads, size = q.shape
    page, key_heads = k_cache.shape[1:3]
    rows = tokens * heads // key_heads
    block_rows = min(128, max(16, triton.next_power_of_2(rows)))
    padded = max(16, triton.next_power_of_2(size))
    block_keys = _tile(page, padded)
    blocks = triton.cdiv(rows, block_rows)
    longest = table.shape[1] * page  # an upper bound; reading ``lengths`` would wait for the GPU
    parts = parts or _parts(blocks * batch * key_heads, longest // block_keys)
    out = torch.empty((batch, tokens, heads, size), dtype=q.dtype, device=q.device)
    target, sums = out, out
    if parts > 1:
        target = torch.empty((parts, *out.shape), dtype=torch.float32, device=q.device)
        sums = torch.empty((parts, *out.shape[:3]), dtype=torch.float32, device=q.device)
    part_size = target.stride(0) if parts > 1 else 0
    _attend_kernel[(blocks, batch * key_heads, parts)](
        q, k_cache, v_cache, target, sums, table, lengths, added, rules.scale, float(rules.softcap), rules.window,
        tokens, heads // key_heads, key_heads, parts, q.stride(0), q.stride(1), q.stride(2),
        k_cache.stride(0), k_cache.stride(1), k_cache.stride(2), table.stride(0),
        target.stride(-4), target.stride(-3), target.stride(-2), part_size,
        D=size, DP=padded, BM=block_rows, BN=block_keys, PAGE=page, CAP=rules.softcap > 0,
        WINDOW=rules.window >= 0, CAUSAL=rules.causal, SPLIT=parts > 1,
        num_warps=4 if block_rows <= 64 else 8, num_stages=2,
    )  # fmt: skip
    if parts > 1:
        _combine_kernel[(batch * tokens * heads,)](
            target, sums, out, parts, part_size,
            D=size, DP=padded, PARTS=triton.next_power_of_2(parts), num_warps=2,
        )  # fmt: skip
    return out


def _tile(page: int, padded: int) -> int:
    """Return the keys of a tile: a power of two that divides the page."""
    keys = 64 if padded <= 128 else 32
    while page % keys:
        keys //= 2
    if keys < 16:
        raise ValueError(f"A page has {page} tokens. It must be a multiple of 16.")
    return keys


def _parts(programs: int, tiles: int) -> int:
    """Return the number of parts that gives every multiprocessor work."""
    processors = torch.cuda.get_device_properties(torch.cuda.current_device()).multi_processor_count
    if programs >= processors:
        return 1
    return max(1, min(_MAX_PARTS, triton.cdiv(2 * processors, programs), tiles // _MIN_TILES))
