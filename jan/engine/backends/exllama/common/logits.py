"""A sampled token, and the changes to logits before sampling, the same for both libraries."""

from typing import Any

import torch

from jan.engine.backends.token_rules import BAN, TokenRules
from jan.engine.grammars.constraint import Constraint


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
    """Changes the logits of one request before sampling: bias, bans, penalties, top-n-sigma.

    - ``rules``: of the request's answer. ``vocabulary``: the number of tokens.
    """

    def __init__(self, rules: TokenRules, vocabulary: int) -> None:
        self._rules = rules
        self._sampling = rules.sampling
        self._vocabulary = vocabulary
        self._taken = 0
        #: True if the tokens before are needed.
        self.looks_back = rules.sampling.penalises or rules.changes
        self._biased = torch.tensor(list(rules.bias), dtype=torch.long)
        self._bias = torch.tensor(list(rules.bias.values()), dtype=torch.float)
        self._forbidden = torch.ones(vocabulary, dtype=torch.bool) if rules.allowed else None
        if self._forbidden is not None:
            self._forbidden[list(rules.allowed)] = False

    def mask_padding(self, logits: Any) -> None:
        """Set all columns that are not tokens to -inf, in place.

        Args:
            logits: float16 or float32 [vocab + padding].
        """
        logits[self._vocabulary :] = float("-inf")

    def apply(self, logits: Any, answer: Any) -> None:
        """Change the logits in place.

        Args:
            logits: float16 or float32 [vocab + padding].
            answer: int64 [tokens]: the answer so far, without the prompt. Read only if ``looks_back``.
        """
        if len(self._biased):
            logits[self._biased.to(logits.device)] += self._bias.to(logits)
        if self._forbidden is not None:
            logits[: self._vocabulary].masked_fill_(self._forbidden.to(logits.device), float("-inf"))
        if self._sampling.penalises:
            self._penalise(logits, answer[-self._sampling.repeat_last_n :])
        if self.looks_back:
            self._look_back(logits, answer)
        if self._sampling.top_n_sigma:
            self._cut_off(logits)

    def _look_back(self, logits: Any, answer: Any) -> None:
        """Add the biases of this token alone."""
        for token in answer[self._taken :].tolist():
            self._rules.take(token)
        self._taken = len(answer)
        for token, bias in self._rules.next_biases().items():
            logits[token] += bias

    def _cut_off(self, logits: Any) -> None:
        """Drop logits more than ``top_n_sigma`` standard deviations below the highest (Tang et al. 2024)."""
        values = logits[: self._vocabulary].float()
        finite = values[values.isfinite() & (values > BAN / 2)]
        least = finite.max() - self._sampling.top_n_sigma * finite.std(correction=0)
        logits[: self._vocabulary].masked_fill_(values < least, float("-inf"))

    def _penalise(self, logits: Any, answer: Any) -> None:
        """Apply CTRL's repetition penalty (Keskar et al. 2019), then OpenAI's presence and frequency penalties."""
        chosen = self._sampling
        tokens, counts = torch.unique(answer, return_counts=True)
        values = logits[tokens]
        values = torch.where(values > 0, values / chosen.repeat_penalty, values * chosen.repeat_penalty)
        values = values - chosen.presence_penalty - chosen.frequency_penalty * counts
        logits[tokens] = values.to(logits)
