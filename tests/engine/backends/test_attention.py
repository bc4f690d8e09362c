"""The stand-in for flash-attn agrees with plain float32 attention, on the CPU and on a GPU if there is one."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

import torch  # noqa: E402

from jan.engine.backends.exllama.v2 import attention  # noqa: E402


class Case(NamedTuple):
    """The sizes of one attention call. ``lengths``: tokens of each sequence in the cache before."""

    tokens: int
    heads: int
    key_heads: int
    size: int
    lengths: tuple[int, ...]
    page: int = 64
    window: int = -1
    softcap: float = 0.0
    parts: int = 0


CASES = [
    Case(1, 9, 3, 64, (5, 130)),
    Case(1, 9, 3, 64, (5, 130), parts=3),
    Case(40, 9, 3, 64, (0,)),
    Case(40, 9, 3, 64, (100,)),
    Case(5, 4, 2, 32, (63, 127), softcap=20.0),
    Case(7, 4, 4, 64, (150,), window=50, parts=2),
    Case(1, 8, 2, 80, (1, 64, 200), parts=4),
    Case(1, 9, 3, 64, (255,), page=256),
]
LARGE = [
    Case(700, 9, 3, 64, (0,), page=256),
    Case(256, 32, 8, 128, (1000,), page=256),
    Case(5, 32, 8, 128, (1, 255, 256, 3000), page=256),
    Case(1, 32, 8, 128, (8000,), page=256),
    Case(1, 32, 8, 128, (2000,) * 64, page=256),
    Case(7, 8, 4, 64, (300, 900), page=256, window=128),
    Case(1, 8, 4, 256, (300, 900), page=256, softcap=30.0),
]


def tensors(case: Case, device: str) -> tuple[Any, ...]:
    """Return q, k, v, both caches, lengths, and a page table in random order."""
    torch.manual_seed(0)
    batch = len(case.lengths)
    pages = max(-(-(length + case.tokens) // case.page) for length in case.lengths)
    count = batch * pages + 3

    def half(*shape: int) -> Any:
        return torch.randn(*shape, device=device).half()

    table = torch.randperm(count, device=device)[: batch * pages].reshape(batch, pages).int()
    new = (batch, case.tokens, case.key_heads, case.size)
    cache = (count, case.page, case.key_heads, case.size)
    lengths = torch.tensor(case.lengths, dtype=torch.int32, device=device)
    return (
        half(batch, case.tokens, case.heads, case.size),
        half(*new),
        half(*new),
        half(*cache),
        half(*cache),
        lengths,
        table,
    )


def check_kernels(case: Case, device: str) -> float:
    """Return the kernels' relative difference from float32; the caches must be equal to the bit."""
    from jan.engine.backends.exllama.v2 import attention_triton

    q, k, v, k_cache, v_cache, lengths, table = tensors(case, device)
    rules = attention_triton.Rules(case.size**-0.5, True, case.window, case.softcap)
    other_k, other_v = k_cache.clone(), v_cache.clone()
    attention_triton.append(k, v, k_cache, v_cache, table, lengths)
    got = attention_triton.attend(q, k_cache, v_cache, table, lengths, case.tokens, rules, case.parts)
    exact = (rules.scale, True, (case.window, case.window), case.softcap)
    wanted = attention.paged_reference(q, other_k, other_v, (k, v), lengths, table, exact)
    assert torch.equal(k_cache, other_k)
    assert torch.equal(v_cache, other_v)
    return float((got.float() - wanted.float()).norm() / wanted.float().norm())


@pytest.mark.parametrize("case", CASES)
def test_pages_are_read_as_if_they_were_one_piece(case: Case) -> None:
    """Attention over pages on the CPU is torch's own attention over the same tokens in one piece."""
    q, k, v, k_cache, v_cache, lengths, table = tensors(case._replace(softcap=0.0), "cpu")
    got = attention.flash_attn_with_kvcache(
        q,
        k_cache,
        v_cache,
        k,
        v,
        cache_seqlens=lengths,
        block_table=table,
        causal=True,
        window_size=(case.window, 0),
    )
    for index, known in enumerate(case.lengths):
        total = known + case.tokens
        rows = [
            k_cache[table[index].long()].flatten(0, 1)[:total],
            v_cache[table[index].long()].flatten(0, 1)[:total],
        ]
        assert torch.equal(rows[0][known:], k[index])
        keys, values = (
            row.float().transpose(0, 1).repeat_interleave(case.heads // case.key_heads, 0) for row in rows
        )
        back = torch.arange(known, total)[:, None] - torch.arange(total)[None, :]
        seen = (back >= 0) & ((back <= case.window) if case.window >= 0 else True)
        wanted = torch.nn.functional.scaled_dot_product_attention(
            q[index].float().transpose(0, 1), keys, values, attn_mask=seen
        ).transpose(0, 1)
        torch.testing.assert_close(got[index].float(), wanted, atol=2e-3, rtol=2e-3)


INTERPRETED = """
from test_attention import CASES, check_kernels
for case in CASES:
    difference = check_kernels(case._replace(parts=case.parts or 1), "cpu")
    assert difference < 2e-3, (case, difference)
print("all", len(CASES))
"""


@pytest.mark.skipif(
    find_spec("triton") is None, reason="there is no Triton for this machine: Linux on x86-64 alone"
)
def test_the_kernels_agree_with_float32_in_the_interpreter() -> None:
    """Triton's own interpreter runs the kernels on the CPU, in a process of its own."""
    here = Path(__file__).resolve()
    paths = os.pathsep.join(map(str, [here.parent, here.parents[2], here.parents[3]]))
    ran = subprocess.run(
        [sys.executable, "-c", INTERPRETED],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["all", str(len(CASES))]


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA device here; the interpreter runs the small cases"
)
@pytest.mark.parametrize("case", [*CASES, *LARGE])
def test_the_kernels_agree_with_float32_on_the_gpu(case: Case) -> None:
    """The kernels agree with float32 on the GPU, also in the sizes of real models."""
    assert check_kernels(case, "cuda") < 2e-3
