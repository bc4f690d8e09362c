"""Choosing the next token: llama.cpp's sampler chain, a grammar beside it, log probabilities from the logits."""

import random
import secrets
from collections import deque
from collections.abc import Sequence
from typing import Any

import cyllama.llama.llama_cpp as llama
import numpy

from jan.engine.answers.logprobs import token_logprob
from jan.engine.base import Sampling
from jan.engine.grammars.constraint import Constraint
from jan.schema.sampling import TokenLogprob

# OpenAI's penalties look at the whole answer; llama.cpp wants a window.
_PENALTY_WINDOW = 4096
# A token that is less likely than this, in parts of the likeliest, is left out at once: adding up and sorting the
# whole vocabulary takes a tenth of a small model's step. Of a vocabulary of 50,000 tokens all that are left out
# are together less than one in 2,000, in practice one in 30,000 at temperature 1, and fewer below.
_LEAST_PART = 1e-8
# llama.cpp takes this seed for 'random'.
_RANDOM_SEED = 0xFFFFFFFF


class TokenSampler:
    """Samples one answer's tokens. Temperature comes before the truncations, as in OpenAI's API."""

    def __init__(self, sampling: Sampling, vocabulary_size: int, constraint: Constraint | None) -> None:
        self._sampling = sampling
        self._size = vocabulary_size
        self._constraint = constraint
        seed = secrets.randbits(32) if sampling.seed is None else sampling.seed
        # Each chain has a seed of its own: with one and the same they would all begin with the same draw.
        self._seeds = random.Random(seed)
        # What was taken so far, where penalties look at it and a chain may have to be made anew.
        self._taken: deque[int] = deque(maxlen=_PENALTY_WINDOW)
        self._chain = self._make_chain(seed % _RANDOM_SEED)

    @property
    def complete(self) -> bool:
        """Whether the grammar says that nothing can follow."""
        return self._constraint is not None and self._constraint.complete

    @property
    def failure(self) -> str:
        """Why the grammar can't go on, '' while it can."""
        return "" if self._constraint is None else self._constraint.failure

    def sample(self, context: Any, index: int) -> int:
        """The next token, from the logits at ``index`` of the last batch."""
        if self._constraint is None:
            return int(self._chain.sample(context, index))
        return self._sample_constrained(self._constraint, context, index)

    def _sample_constrained(self, constraint: Constraint, context: Any, index: int) -> int:
        """Sample freely; if the grammar refuses, once more among what it allows.

        The distribution of masking first: a token comes at once with p, or after a refusal with
        (1 - A) p / A, A being what the grammar allows; together p / A. (With top_k, top_p or min_p not to
        the letter: they cut before the mask at first, after it the second time.) The mask is the slow part,
        and most tokens don't need it.
        """
        token = int(self._chain.sample(context, index))
        if not constraint.accept(token):
            token = self._sample_masked(constraint.mask(), context, index)
            constraint.accept(token)
        elif self._sampling.penalises:
            self._taken.append(token)
        return token

    def _sample_masked(self, mask: list[tuple[int, float]], context: Any, index: int) -> int:
        masked = self._make_chain(self._next_seed(), mask)
        token = int(masked.sample(context, index))
        masked.close()
        if self._sampling.penalises:
            self._taken.append(token)
            # The chain counted the refused token as said.
            self._chain.close()
            self._chain = self._make_chain(self._next_seed())
        return token

    def _next_seed(self) -> int:
        return self._seeds.randrange(_RANDOM_SEED)

    def _make_chain(self, seed: int, mask: Sequence[tuple[int, float]] = ()) -> Any:
        chosen = self._sampling
        chain = llama.LlamaSampler(llama.LlamaSamplerChainParams())
        if chosen.logit_bias:
            chain.add_logit_bias(self._size, list(chosen.logit_bias.items()))
        if chosen.penalises:
            chain.add_penalties(
                _PENALTY_WINDOW, chosen.repeat_penalty, chosen.frequency_penalty, chosen.presence_penalty
            )
        if mask:  # after the penalties, of which one is a factor on the logits
            chain.add_logit_bias(self._size, list(mask))
        self._add_choice(chain, seed)
        for token in self._taken:
            chain.accept(token)
        return chain

    def _add_choice(self, chain: Any, seed: int) -> None:
        chosen = self._sampling
        if chosen.temperature == 0:
            chain.add_greedy()
            return
        add_temperature(chain, chosen.temperature)
        if chosen.top_k:
            chain.add_top_k(chosen.top_k)
        if chosen.top_p < 1:
            chain.add_top_p(chosen.top_p, 1)
        if chosen.min_p:
            chain.add_min_p(chosen.min_p, 1)
        chain.add_dist(seed)

    def close(self) -> None:
        """Free the chain."""
        self._chain.close()


def add_temperature(chain: Any, temperature: float) -> None:
    """Leave out what is never drawn, and divide the rest by the temperature, above 0."""
    chain.add_min_p(_LEAST_PART**temperature, 1)
    chain.add_temp(temperature)


def logprob_of(context: Any, index: int, token: int, top: int, pieces: list[bytes]) -> TokenLogprob:
    """Natural-log probability of a token under the model's own distribution, with the ``top`` likeliest."""
    logits = numpy.asarray(context.get_logits_ith(index), dtype=numpy.float32)
    return token_logprob(logits, token, top, pieces)
