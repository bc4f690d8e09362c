"""The ExLlama engines' changes to logits, by their formulas. The library's own settings, by what it reads."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from jan.engine.backends.exllama.common.logits import LogitRules  # noqa: E402
from jan.engine.backends.token_rules import BAN, Pieces, TokenRules  # noqa: E402
from jan.engine.base import GenerationRequest, Sampling, TextPrompt  # noqa: E402

END = 0
LOGITS = [1.0, 3.0, -2.0, 0.5, 2.0, -1.0]


def changed(answer: list[int], sampling: Sampling | None = None, **asked: Any) -> list[float]:
    """The logits of six tokens after an answer, and two columns of padding."""
    model = SimpleNamespace(
        pieces=[b"x"] * 6,
        stop_tokens=frozenset({END}),
        tokenize_plain=lambda text: [int(text)] if text.isdigit() else [],
    )
    request = GenerationRequest(prompt=TextPrompt(""), sampling=sampling or Sampling(), **asked)
    rules = LogitRules(TokenRules(request, [5, 1], 50, cast(Pieces, model)), 6)
    logits = torch.tensor([*LOGITS, 9.0, 9.0])
    rules.mask_padding(logits)
    rules.apply(logits, torch.tensor(answer, dtype=torch.long))
    assert logits[6:].tolist() == [float("-inf")] * 2
    return [round(value, 4) for value in logits[:6].tolist()]


def test_penalties_look_back_as_far_as_asked() -> None:
    """CTRL's penalty divides positive logits and multiplies negative ones; then OpenAI's two are subtracted."""
    chosen = {"repeat_penalty": 2.0, "presence_penalty": 0.5, "frequency_penalty": 0.25}
    assert changed([1, 2, 2], Sampling(**chosen)) == [1.0, 0.75, -5.0, 0.5, 2.0, -1.0]
    assert changed([1, 2, 2], Sampling(**chosen, repeat_last_n=1)) == [1.0, 3.0, -4.75, 0.5, 2.0, -1.0]
    assert changed([1, 2, 2], Sampling(**chosen, repeat_last_n=0)) == LOGITS


def test_bias_bans_and_allowed_tokens() -> None:
    """A bias is added, a ban takes a token out of reach, and only allowed tokens are left."""
    assert changed([], Sampling(logit_bias={1: -1.5}), bad_words=("3",)) == [1.0, 1.5, -2.0, 0.5 + BAN, 2.0, -1.0]
    least = float("-inf")
    assert changed([], allowed_tokens=(2, 4)) == [least, least, -2.0, least, 2.0, least]
    assert changed([], ignore_eos=True)[END] == 1.0 + BAN


def test_the_end_is_banned_before_the_least_length() -> None:
    """And free from then on."""
    assert changed([1], min_tokens=2)[END] == 1.0 + BAN
    assert changed([1, 1], min_tokens=2) == LOGITS


def test_top_n_sigma_cuts_off_by_the_spread() -> None:
    """Logits further below the highest than n standard deviations are dropped."""
    spread = float(torch.tensor(LOGITS).std(correction=0))
    kept = [value if value >= 3.0 - spread else float("-inf") for value in LOGITS]
    assert changed([], Sampling(top_n_sigma=1.0)) == kept
    assert changed([], Sampling(top_n_sigma=9.0)) == LOGITS


def test_dry_is_that_of_the_other_engine() -> None:
    """The prompt ends with tokens 5 and 1: after another 5, 1 is a repetition."""
    assert changed([5], Sampling(dry_multiplier=1.0, dry_base=2.0, dry_allowed_length=1))[1] == 3.0 - 1.0
