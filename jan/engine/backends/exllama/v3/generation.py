"""The library's jobs, samplers and filters, with our own sampling around. Importing this imports the library."""

from collections.abc import Sequence
from typing import Any

import numpy
import torch
from exllamav3 import CustomSampler, Filter, Job, SS_Argmax, SS_MinP, SS_Sample, SS_Temperature, SS_TopK, SS_TopP

from jan.engine.backends.exllama.common.logits import LogitRules, Sampled
from jan.engine.base import Sampling
from jan.engine.grammars.constraint import Constraint


class RuledSampler(CustomSampler):  # type: ignore[misc]
    """Bias and penalties, then the library's steps; its own penalties count the prompt too."""

    def __init__(self, sampling: Sampling, vocabulary: int, prompt_tokens: int) -> None:
        super().__init__(steps_of(sampling))
        self._rules = LogitRules(sampling, vocabulary)
        self._prompt_tokens = prompt_tokens
        # Else a window of guessed tokens would be drawn at once, each without knowing the one before.
        self.reqs_past_ids = sampling.penalises

    def forward(self, logits: Any, sequence_ids: Any = None, *others: Any, **named: Any) -> Any:
        """Draw a token."""
        row = logits[0, 0]
        self._rules.drop_padding(row)
        said = sequence_ids[0, self._prompt_tokens :] if self.reqs_past_ids else None
        self._rules.apply(row, said)
        return super().forward(logits, sequence_ids, *others, **named)


def steps_of(sampling: Sampling) -> list[Any]:
    """The library's steps; penalties and bias come before them."""
    if sampling.temperature == 0 or sampling.top_p == 0:
        return [SS_Argmax()]
    # A step that changes nothing (1, or 0 for top_k and min_p) is left out by the library. In this order it has
    # one kernel for all of them.
    return [
        SS_Temperature(sampling.temperature),
        SS_MinP(sampling.min_p),
        SS_TopK(sampling.top_k),
        SS_TopP(min(1.0, sampling.top_p)),
        SS_Sample(),
    ]


class SampledJob(Job):  # type: ignore[misc]
    """A job that tells each token at once, in ``sampled``; the library's own results hold tokens back."""

    def __init__(
        self,
        tokens: Sequence[int],
        limit: int,
        sampling: Sampling,
        stop_tokens: frozenset[int],
        constraint: Constraint | None,
        *,
        vocabulary: int,
        keep_logits: bool,
    ) -> None:
        super().__init__(
            input_ids=torch.tensor([list(tokens)], dtype=torch.long),
            max_new_tokens=limit,
            sampler=RuledSampler(sampling, vocabulary, len(tokens)),
            seed=sampling.seed,
            stop_conditions=list(stop_tokens),
            filters=[] if constraint is None else [ConstraintFilter(constraint)],
        )
        self._constraint = constraint
        self._keep_logits = keep_logits
        self.sampled: list[Sampled] = []

    def receive_logits(self, logits: Any) -> Any:
        """Sample; the model's own logits go along where the library has a probability that nobody asked for,
        because it may sample several tokens before it takes in the first."""
        own = logits[0, 0].clone() if self._keep_logits else None
        token, top, top_probabilities, _ = super().receive_logits(logits)
        return token, top, top_probabilities, own

    def receive_sample(self, logits: Any, token: Any, top: Any, chances: Any, own: Any, *others: Any) -> Any:
        """Take a token in."""
        ended = super().receive_sample(logits, token, top, chances, None, *others)
        kept = own.float().cpu() if own is not None else None
        self.sampled.append(Sampled(int(token), kept, self._constraint))
        return ended


class ConstraintFilter(Filter):  # type: ignore[misc]
    """A constraint as the library wants it: its mask is made while the GPU computes the logits. The library's
    own filter for grammars knows neither our tool calls nor our limits."""

    def __init__(self, constraint: Constraint) -> None:
        super().__init__(None, trigger_token=None, prefix_str=None, eos_after_completed=False)
        self._constraint = constraint

    def reset(self) -> None:
        """Nothing was said yet."""

    def accept_token(self, token: int) -> None:
        """Advance by a token."""
        self._constraint.accept(token)

    def is_completed(self) -> bool:
        """Whether nothing more is to be masked: the answer is complete, or it failed and is ended by us."""
        return bool(self._constraint.complete or self._constraint.failure)

    def get_next_logit_mask(self) -> Any:
        """What may come next: a bit for each token, in words of 32; the library masks the rest."""
        bits = numpy.packbits(self._constraint.allowed().astype(bool), bitorder="little")
        padded = numpy.zeros(-(-len(bits) // 4) * 4, dtype=numpy.uint8)
        padded[: len(bits)] = bits
        return torch.from_numpy(padded.view(numpy.int32))[None, :]
