"""Make llama.cpp's sampler chains.

The order: bias, penalties, mask, top_n_sigma, temperature, top_k, typical_p, top_p, min_p, dynamic temperature,
XTC, the draw. Temperature comes before the truncations, as in OpenAI's API; a dynamic temperature comes after
them, as in llama.cpp, because it depends on how many tokens are left. Mirostat replaces everything between
temperature and draw.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cyllama.llama.llama_cpp as llama

from jan.engine.base import Sampling

# Tokens less likely than this fraction of the likeliest one are dropped first (min-p, Nguyen et al. 2024, with a
# tiny p), because summing and sorting the whole vocabulary takes a tenth of a small model's step. With 50,000
# tokens, the dropped ones together have a probability below 1 in 2,000; in practice 1 in 30,000 at temperature 1,
# and less at lower temperatures.
_NEGLIGIBLE_RATIO = 1e-8
#: llama.cpp reads this seed as "choose a random one".
RANDOM_SEED = 0xFFFFFFFF
# Raises the only allowed tokens above all others, also if they are banned: then they are all that is left.
_ALLOW_BIAS = 2000.0
# Tokens that Mirostat 1 estimates with, as in its paper.
_MIROSTAT_SAMPLE = 100


class SamplerChains:
    """Makes the chains of one answer.

    - ``bias``: added to the logits, by token id. ``allowed``: the only tokens allowed; empty: all.
    """

    def __init__(
        self, sampling: Sampling, vocabulary_size: int, bias: Mapping[int, float], allowed: Sequence[int]
    ) -> None:
        self._sampling = sampling
        self._size = vocabulary_size
        self._bias = list(bias.items()) + [(token, _ALLOW_BIAS) for token in dict.fromkeys(allowed)]

    def make(
        self,
        seed: int,
        biases: Iterable[tuple[int, float]] = (),
        spread: float = 0.0,
        taken: Iterable[int] = (),
    ) -> Any:
        """Return a new chain.

        Args:
            seed: of its draws.
            biases: more biases of single tokens, such as a grammar's mask.
            spread: the standard deviation of the logits, for top_n_sigma.
            taken: the answer's last tokens, for penalties.
        """
        chosen = self._sampling
        chain = llama.LlamaSampler(llama.LlamaSamplerChainParams())
        if self._bias:
            chain.add_logit_bias(self._size, self._bias)
        if chosen.penalises:
            chain.add_penalties(
                chosen.repeat_last_n, chosen.repeat_penalty, chosen.frequency_penalty, chosen.presence_penalty
            )
        if more := list(biases):  # after the penalties, because repeat_penalty multiplies logits
            chain.add_logit_bias(self._size, more)
        self._add_choice(chain, seed, spread)
        for token in taken:
            chain.accept(token)
        return chain

    def _add_choice(self, chain: Any, seed: int, spread: float) -> None:
        chosen = self._sampling
        if spread and chosen.top_n_sigma:
            # A logit this far below the highest is a probability in this ratio to the highest.
            chain.add_min_p(math.exp(-chosen.top_n_sigma * spread), 1)
        if chosen.temperature == 0 and not chosen.dynatemp_range:
            chain.add_greedy()
        elif chosen.mirostat:
            chain.add_temp(chosen.temperature)
            if chosen.mirostat == 1:
                chain.add_mirostat(self._size, seed, chosen.mirostat_tau, chosen.mirostat_eta, _MIROSTAT_SAMPLE)
            else:
                chain.add_mirostat_v2(seed, chosen.mirostat_tau, chosen.mirostat_eta)
        else:
            self._add_truncations(chain, seed)

    def _add_truncations(self, chain: Any, seed: int) -> None:
        chosen = self._sampling
        if not chosen.dynatemp_range:
            add_temperature(chain, chosen.temperature)
        if chosen.top_k:
            chain.add_top_k(chosen.top_k)
        if chosen.typical_p < 1:
            chain.add_typical(chosen.typical_p, 1)
        if chosen.top_p < 1:
            chain.add_top_p(chosen.top_p, 1)
        if chosen.min_p:
            chain.add_min_p(chosen.min_p, 1)
        if chosen.dynatemp_range:
            chain.add_temp_ext(chosen.temperature, chosen.dynatemp_range, chosen.dynatemp_exponent)
        if chosen.xtc_probability:
            chain.add_xtc(chosen.xtc_probability, chosen.xtc_threshold, 1, seed)
        chain.add_dist(seed)


def add_temperature(chain: Any, temperature: float) -> None:
    """Drop tokens of negligible probability and divide the other logits by ``temperature``, which is above 0."""
    chain.add_min_p(_NEGLIGIBLE_RATIO**temperature, 1)
    chain.add_temp(temperature)
