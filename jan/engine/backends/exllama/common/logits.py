"""A sampled token, and the changes to logits before sampling, the same for both libraries."""

from typing import Any

import torch

from jan.engine.base import Sampling
from jan.engine.grammars.constraint import Constraint

# Penalties look this many tokens back, as in the llama.cpp engine.
_PENALTY_WINDOW = 4096


class SampledToken:
    """A token as it was drawn.

    ``logits``: the model's own logits, float32 [vocab + padding] on the CPU, or None if no log probabilities are
    wanted. ``complete`` and ``failure``: the constraint's state after this token.
    """

    __slots__ = ("complete", "failure", "logits", "token")

    def __init__(self, token: int, logits: Any, constraint: Constraint | None) -> None:
        self.token = token
        self.logits = logits
        self.complete = constraint is not None and constraint.complete
        self.failure = "" if constraint is None else constraint.failure


class LogitRules:
    """The bias and the penalties of one request. ``vocabulary``: the number of tokens."""

    def __init__(self, sampling: Sampling, vocabulary: int) -> None:
        self._sampling = sampling
        self._vocabulary = vocabulary
        self._biased = torch.tensor(list(sampling.logit_bias), dtype=torch.long)
        self._bias = torch.tensor(list(sampling.logit_bias.values()), dtype=torch.float)

    def mask_padding(self, logits: Any) -> None:
        """Set all columns that are not tokens to -inf, in place.

        Args:
            logits: float16 or float32 [vocab + padding].
        """
        logits[self._vocabulary :] = float("-inf")

    def apply(self, logits: Any, answer: Any) -> None:
        """Add the bias and apply the penalties, in place.

        Args:
            logits: float16 or float32 [vocab + padding].
            answer: int64 [tokens]: the answer so far, without the prompt. Read only if there are penalties.
        """
        if self._sampling.logit_bias:
            logits[self._biased.to(logits.device)] += self._bias.to(logits)
        if self._sampling.penalises:
            self._penalise(logits, answer[-_PENALTY_WINDOW:])

    def _penalise(self, logits: Any, answer: Any) -> None:
        """Apply CTRL's repetition penalty (Keskar et al. 2019), then OpenAI's presence and frequency penalties."""
        chosen = self._sampling
        tokens, counts = torch.unique(answer, return_counts=True)
        values = logits[tokens]
        values = torch.where(values > 0, values / chosen.repeat_penalty, values * chosen.repeat_penalty)
        values = values - chosen.presence_penalty - chosen.frequency_penalty * counts
        logits[tokens] = values.to(logits)
