"""A token as it was drawn, and what is done to the logits before: the same whichever library draws."""

from typing import Any

import torch

from jan.engine.base import Sampling
from jan.engine.grammars.constraint import Constraint

# As far back as penalties look, like the llama.cpp engine.
_PENALTY_WINDOW = 4096


class Sampled:
    """A token as it was drawn. ``logits``: the model's own, where log probabilities are wanted; ``complete``,
    ``failure``: what the constraint says after it."""

    __slots__ = ("complete", "failure", "logits", "token")

    def __init__(self, token: int, logits: Any, constraint: Constraint | None) -> None:
        self.token = token
        self.logits = logits
        self.complete = constraint is not None and constraint.complete
        self.failure = "" if constraint is None else constraint.failure


class LogitRules:
    """Bias and penalties of a request; ``vocabulary``: how many of the model's columns are tokens."""

    def __init__(self, sampling: Sampling, vocabulary: int) -> None:
        self._sampling = sampling
        self._vocabulary = vocabulary
        self._biased = torch.tensor(list(sampling.logit_bias), dtype=torch.long)
        self._bias = torch.tensor(list(sampling.logit_bias.values()), dtype=torch.float)

    def drop_padding(self, row: Any) -> None:
        """Leave no column that no token has: padding, and what the tokenizer does not know."""
        row[self._vocabulary :] = float("-inf")

    def apply(self, row: Any, said: Any) -> None:
        """Change the logits in place; ``said``: the tokens of the answer so far, read if something penalises."""
        if self._sampling.logit_bias:
            row[self._biased.to(row.device)] += self._bias.to(row)
        if self._sampling.penalises:
            self._penalise(row, said[-_PENALTY_WINDOW:])

    def _penalise(self, row: Any, said: Any) -> None:
        chosen = self._sampling
        tokens, counts = torch.unique(said, return_counts=True)
        values = row[tokens]
        values = torch.where(values > 0, values / chosen.repeat_penalty, values * chosen.repeat_penalty)
        values = values - chosen.presence_penalty - chosen.frequency_penalty * counts
        row[tokens] = values.to(row)
