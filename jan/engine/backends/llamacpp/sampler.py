"""Sample the next token: llama.cpp's sampler chain, constrained by a grammar. Compute its log probability."""

import random
import secrets
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import numpy

from jan.engine.answers.logprobs import token_logprob
from jan.engine.backends.llamacpp.chain import RANDOM_SEED, SamplerChains
from jan.engine.backends.token_rules import BAN, TokenRules
from jan.engine.grammars.constraint import Constraint
from jan.schema.sampling import TokenLogprob


class TokenSampler:
    """Samples the tokens of one answer.

    The first draw of a constrained answer ignores the grammar. Only if the grammar refuses the token, a second
    draw is made among the allowed ones. The mask for it is the slow part, and most tokens do not need it. Banned
    tokens are refused in the same way.
    """

    def __init__(self, rules: TokenRules, vocabulary_size: int, constraint: Constraint | None) -> None:
        self._sampling = rules.sampling
        self._rules = rules
        self._chains = SamplerChains(rules.sampling, vocabulary_size, rules.bias, rules.allowed)
        self._constraint = constraint
        seed = secrets.randbits(32) if rules.sampling.seed is None else rules.sampling.seed
        # Each chain needs a seed of its own. With the same seed, all chains would begin with the same draw.
        self._seeds = random.Random(seed)
        # The answer's tokens, for penalties when a new chain is needed. Empty otherwise.
        self._taken: deque[int] = deque(maxlen=max(1, rules.sampling.repeat_last_n))
        self._chain = self._chains.make(seed % RANDOM_SEED)
        # True if a token may need more than the chain alone.
        self._watched = constraint is not None or rules.changes or bool(rules.sampling.top_n_sigma)

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
        return self._sample_watched(context, index) if self._watched else int(self._chain.sample(context, index))

    def _sample_watched(self, context: Any, index: int) -> int:
        """Draw freely; if the token is refused, draw again among the allowed ones.

        This gives the same distribution as masking first. Let A be the probability of all allowed tokens. An
        allowed token with probability p is drawn first with p, or after a refusal with (1 - A) * p / A: together p
        / A. With top_k, top_p or min_p this is approximate, because the first draw truncates before the mask, and
        the second draw after it.
        """
        biases = self._rules.next_biases() if self._rules.changes else {}
        spread = self._spread(context, index)
        token = self._draw(context, index, biases, spread)
        if biases.get(token) == BAN or (self._constraint is not None and not self._constraint.accept(token)):
            token = self._draw_masked(context, index, biases, spread)
        elif self._sampling.penalises:
            self._taken.append(token)
        self._rules.take(token)
        return token

    def _spread(self, context: Any, index: int) -> float:
        """Return the standard deviation of the logits if it is needed."""
        if not self._sampling.top_n_sigma:
            return 0.0
        return float(numpy.asarray(context.get_logits_ith(index), dtype=numpy.float32).std())

    def _draw(self, context: Any, index: int, biases: Mapping[int, float], spread: float) -> int:
        """Draw by the standing chain, or by one of its own where penalties or a threshold are this token's own."""
        if not spread and all(bias == BAN for bias in biases.values()):
            return int(self._chain.sample(context, index))
        token = self._draw_once(context, index, biases.items(), spread)
        self._chain.accept(token)
        return token

    def _draw_once(self, context: Any, index: int, biases: Iterable[tuple[int, float]], spread: float) -> int:
        chain = self._chains.make(self._seeds.randrange(RANDOM_SEED), biases, spread, self._taken)
        token = int(chain.sample(context, index))
        chain.close()
        return token

    def _draw_masked(self, context: Any, index: int, biases: Mapping[int, float], spread: float) -> int:
        mask = [] if self._constraint is None else self._constraint.mask()
        token = self._draw_once(context, index, [*mask, *biases.items()], spread)
        if self._constraint is not None:
            self._constraint.accept(token)
        if self._sampling.penalises:
            self._taken.append(token)
            # The old chain has counted the refused token for its penalties.
            self._chain.close()
            self._chain = self._chains.make(self._seeds.randrange(RANDOM_SEED), taken=self._taken)
        return token

    def close(self) -> None:
        """Free the sampler chain."""
        self._chain.close()


def logprob_of(
    context: Any, index: int, token: int, top: int, pieces: list[bytes], *, ids: bool = False
) -> TokenLogprob:
    """Return a token's log probability under the model's own distribution, with the ``top`` likeliest tokens.

    Args:
        context: llama.cpp's context, after it decoded a batch.
        index: position in that batch whose logits, float32 [vocab], are used.
        token: id of the token.
        top: number of alternatives to return.
        pieces: the bytes of each token, by token id.
        ids: return token ids and the rank too.
    """
    logits = numpy.asarray(context.get_logits_ith(index), dtype=numpy.float32)
    return token_logprob(logits, token, top, pieces, ids=ids)
