"""Compare each attention kernel with float32, and its speed with flash-attn if that is installed."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from jan.engine.backends.exllama.v2 import attention, attention_triton, flash

_ROUNDS = 20
# Largest relative difference from float32: that of half precision itself.
MOST = 2e-3


class Case(NamedTuple):
    """The sizes of one attention call. ``lengths``: tokens of each sequence in the cache before.

    The names are those of ``attention_triton.attend``.
    """

    name: str
    tokens: int
    lengths: tuple[int, ...]
    heads: int = 32
    key_heads: int = 8
    size: int = 128
    page: int = 256
    parts: int = 0


CASES = (
    Case("a token, 1 stream at 8000", 1, (8000,)),
    Case("a token, 32 streams at 600", 1, (600,) * 32),
    Case("a token, 64 streams at 2000", 1, (2000,) * 64),
    Case("a token, 128 streams at 600", 1, (600,) * 128),
    Case("a prompt of 2048", 2048, (0,)),
    Case("2048 more after 6000", 2048, (6000,)),
    Case("5 guessed ahead, 16 streams", 5, (600,) * 16),
)


class Inputs:
    """The tensors of one attention call, with pages in random order. Shapes as in ``attention_triton.attend``."""

    def __init__(self, case: Case, device: str) -> None:
        self.case = case
        pages = max(-(-(length + case.tokens) // case.page) for length in case.lengths)
        batch, count = len(case.lengths), len(case.lengths) * pages
        new = (batch, case.tokens, case.key_heads, case.size)
        self.q = _halves((batch, case.tokens, case.heads, case.size), device)
        self.k, self.v = _halves(new, device), _halves(new, device)
        self.k_cache, self.v_cache = (
            _halves((count, case.page, case.key_heads, case.size), device) for _ in range(2)
        )
        self.lengths = torch.tensor(case.lengths, dtype=torch.int32, device=device)
        self.table = torch.randperm(count, device=device).reshape(batch, pages).int()
        self._rules = attention_triton.Rules(case.size**-0.5, True, -1, 0.0)

    def ours(self) -> Any:
        """Attend with our Triton kernels."""
        attention_triton.append(self.k, self.v, self.k_cache, self.v_cache, self.table, self.lengths)
        return attention_triton.attend(
            self.q, self.k_cache, self.v_cache, self.table, self.lengths, self.case.tokens, self._rules,
            self.case.parts,
        )  # fmt: skip

    def theirs(self) -> Any:
        """Attend with flash-attn's kernels."""
        from flash_attn import flash_attn_with_kvcache

        return flash_attn_with_kvcache(
            self.q, self.k_cache, self.v_cache, self.k, self.v,
            cache_seqlens=self.lengths, block_table=self.table, causal=True,
        )  # fmt: skip

    def exact(self) -> Any:
        """Attend in float32, sequence by sequence."""
        scale, causal, window, softcap = self._rules
        rules = (scale, causal, (window, window), softcap)
        caches = self.k_cache.clone(), self.v_cache.clone()
        return attention.paged_reference(self.q, *caches, (self.k, self.v), self.lengths, self.table, rules)


def _halves(shape: tuple[int, ...], device: str) -> Any:
    return torch.randn(*shape, device=device).half()


def difference(case: Case, device: str) -> float:
    """Return the relative difference of our kernels from float32."""
    torch.manual_seed(0)
    inputs = Inputs(case, device)
    exact = inputs.exact().float()
    return float((inputs.ours().float() - exact).norm() / exact.norm())


def microseconds(action: Callable[[], Any], rounds: int = _ROUNDS) -> float:
    """Return the microseconds of one call, after a warm-up."""
    for _ in range(3):
        action()
    _wait()
    began = time.perf_counter()
    for _ in range(rounds):
        action()
    _wait()
    return (time.perf_counter() - began) / rounds * 1e6


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def faster(ours: float, theirs: float) -> str:
    """Return the faster of two kernels, and by what factor, in words."""
    return f"flash-attn, {ours / theirs:.2f}x" if theirs < ours else f"Triton, {theirs / ours:.2f}x"


def table(cases: tuple[Case, ...] = CASES, device: str = "cuda") -> bool:
    """Print a row for each case; returns True if all agree with float32."""
    problem = flash.problem()
    print(f"\nAttention kernels (heads 32/8 of 128, pages of 256){f'; {problem}' if problem else ''}\n")
    print("| Case | Differs from float32 by | Triton, µs | flash-attn, µs | Faster |")
    print("| --- | ---: | ---: | ---: | --- |")
    agree = True
    for case in cases:
        differs, inputs = difference(case, device), Inputs(case, device)
        agree = agree and differs < MOST
        ours = microseconds(inputs.ours)
        theirs = None if problem else microseconds(inputs.theirs)
        beside = "- | -" if theirs is None else f"{theirs:.0f} | {faster(ours, theirs)}"
        told = f"{differs:.1e}" if differs < MOST else f"{differs:.1e} **too much**"
        print(f"| {case.name} | {told} | {ours:.0f} | {beside} |")
    return agree
