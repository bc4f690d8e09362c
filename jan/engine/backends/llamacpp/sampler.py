"""Sample the next token: llama.cpp's sampler chain, constrained by a grammar. Compute its log probability."""

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

# OpenAI's penalties look at the whole answer. llama.cpp needs a window in tokens.
_PENALTY_WINDOW = 4096
# Tokens less likely than this fraction of the likeliest one are dropped first (min-p, Nguyen et al. 2024, with a
# tiny p), because summing and sorting the whole vocabulary takes a tenth of a small model's step. With 50,000
# tokens, the dropped ones together have a probability below 1 in 2,000; in practice 1 in 30,000 at temperature 1,
# and less at lower temperatures.
_NEGLIGIBLE_RATIO = 1e-8
# llama.cpp reads this seed as "choose a random one".
_RANDOM_SEED = 0xFFFFFFFF


class TokenSampler:
    """Samples the tokens of one answer. Temperature is applied before top-k, top-p and min-p, as in OpenAI's API.

    The first draw of a constrained answer ignores the grammar. Only if the grammar refuses the token, a second
    draw is made among the allowed ones. The mask for it is the slow part, and most tokens do not need it.
    """

    def __init__(self, sampling: Sampling, vocabulary_size: int, constraint: Constraint | None) -> None:
        self._sampling = sampling
        self._size = vocabulary_size
        self._constraint = constraint
        seed = secrets.randbits(32) if sampling.seed is None else sampling.seed
        # Each chain needs a seed of its own. With the same seed, all chains would begin with the same draw.
        self._seeds = random.Random(seed)
        # The answer's tokens, for penalties when a constrained answer needs a new chain. Empty otherwise.
        self._taken: deque[int] = deque(maxlen=_PENALTY_WINDOW)
        self._chain = self._make_chain(seed % _RANDOM_SEED)

    @property
    def complete(self) -> bool:
        """True if the grammar allows no further token."""
        return self._constraint is not None and self._constraint.complete

    @property
    def failure(self) -> str:
        """Why the grammar can't continue; '' while it can."""
        return "" if self._constraint is None else self._constraint.failure

    def sample(self, context: Any, index: int) -> int:
        """Draw the next token id.

        Args:
            context: llama.cpp's context, after it decoded a batch.
            index: position in that batch whose logits, float32 [vocab], are sampled.
        """
        if self._constraint is None:
            return int(self._chain.sample(context, index))
        return self._sample_constrained(self._constraint, context, index)

    def _sample_constrained(self, constraint: Constraint, context: Any, index: int) -> int:
        """Draw freely; if the grammar refuses the token, draw again among the allowed ones.

        This gives the same distribution as masking first. Let A be the probability of all allowed tokens. An
        allowed token with probability p is drawn first with p, or after a refusal with (1 - A) * p / A: together p
        / A. With top_k, top_p or min_p this is approximate, because the first draw truncates before the mask, and
        the second draw after it.
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
            # The old chain has counted the refused token for its penalties.
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
        if mask:  # after the penalties, because repeat_penalty multiplies logits
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
        """Free the sampler chain."""
        self._chain.close()


def add_temperature(chain: Any, temperature: float) -> None:
    """Drop tokens of negligible probability and divide the other logits by ``temperature``, which is above 0."""
    chain.add_min_p(_NEGLIGIBLE_RATIO**temperature, 1)
    chain.add_temp(temperature)


def logprob_of(context: Any, index: int, token: int, top: int, pieces: list[bytes]) -> TokenLogprob:
    """Return a token's log probability under the model's own distribution, with the ``top`` likeliest tokens.

    Args:
        context: llama.cpp's context, after it decoded a batch.
        index: position in that batch whose logits, float32 [vocab], are used.
        token: id of the token.
        top: number of alternatives to return.
        pieces: the bytes of each token, by token id.
    """
    logits = numpy.asarray(context.get_logits_ith(index), dtype=numpy.float32)
    return token_logprob(logits, token, top, pieces)
