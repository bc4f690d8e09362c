"""ExLlamaV3's jobs, samplers and filters, with our own sampling rules. Importing this imports the library."""

from typing import Any

import numpy
import torch
from exllamav3 import CustomSampler, Filter, Job, SS_Argmax, SS_MinP, SS_Sample, SS_Temperature, SS_TopK, SS_TopP
from exllamav3.generator.sampler.custom import SS_XTC

from jan.engine.backends.exllama.common.job_plan import JobPlan
from jan.engine.backends.exllama.common.logits import LogitRules, SampledToken
from jan.engine.backends.token_rules import TokenRules
from jan.engine.base import Sampling
from jan.engine.grammars.constraint import Constraint


class RuledSampler(CustomSampler):  # type: ignore[misc]
    """Applies bias and penalties, then the library's steps. Its own penalties would also count the prompt."""

    def __init__(self, rules: TokenRules, vocabulary: int, prompt_tokens: int) -> None:
        super().__init__(steps_of(rules.sampling))
        self._rules = LogitRules(rules, vocabulary)
        self._prompt_tokens = prompt_tokens
        # Otherwise all drafted tokens would be drawn at once, each without penalties for the ones before it.
        self.reqs_past_ids = self._rules.looks_back

    def forward(self, logits: Any, sequence_ids: Any = None, *others: Any, **named: Any) -> Any:
        """Draw a token.

        Args:
            logits: float16 or float32 [1, 1, vocab + padding]: batch and position are 1.
            sequence_ids: int64 [1, tokens]: prompt and answer so far, if there are penalties.
        """
        row = logits[0, 0]  # a view, [vocab + padding]: changed in place, and then sampled by the library
        self._rules.mask_padding(row)
        answer = sequence_ids[0, self._prompt_tokens :] if self.reqs_past_ids else None
        self._rules.apply(row, answer)
        return super().forward(logits, sequence_ids, *others, **named)


def steps_of(sampling: Sampling) -> list[Any]:
    """Return the library's sampling steps, which come after penalties and bias."""
    if sampling.temperature == 0 or sampling.top_p == 0:
        return [SS_Argmax()]
    # The library drops a step that changes nothing (1, or 0 for top_k and min_p). In this order it computes all of
    # them in one kernel.
    return [
        SS_Temperature(sampling.temperature),
        SS_MinP(sampling.min_p),
        SS_TopK(sampling.top_k),
        SS_TopP(min(1.0, sampling.top_p)),
        *([SS_XTC(sampling.xtc_probability, sampling.xtc_threshold)] if sampling.xtc_probability else []),
        SS_Sample(),
    ]


class SampledJob(Job):  # type: ignore[misc]
    """A job that reports each token at once, in ``sampled``. The library's own results hold tokens back."""

    def __init__(self, plan: JobPlan) -> None:
        super().__init__(
            input_ids=torch.tensor([plan.tokens], dtype=torch.long),  # [1, prompt tokens]
            max_new_tokens=plan.limit,
            sampler=RuledSampler(plan.rules, plan.vocabulary, len(plan.tokens)),
            seed=plan.rules.sampling.seed,
            stop_conditions=list(plan.rules.stop_tokens),
            filters=[] if plan.constraint is None else [ConstraintFilter(plan.constraint)],
        )
        self._plan = plan
        self.sampled: list[SampledToken] = []

    def receive_logits(self, logits: Any) -> Any:
        """Sample a token.

        The model's own logits are returned in the place of a probability that nobody asked for, because the
        library may sample several tokens before it calls ``receive_sample`` for the first.

        Args:
            logits: float16 or float32 [1, 1, vocab + padding].
        """
        own = logits[0, 0].clone() if self._plan.keep_logits else None  # [vocab + padding]
        token, top, top_probabilities, _ = super().receive_logits(logits)
        return token, top, top_probabilities, own

    def receive_sample(self, logits: Any, token: Any, top: Any, chances: Any, own: Any, *others: Any) -> Any:
        """Record a sampled token, int64 [1, 1]; ``own``: the logits from ``receive_logits``."""
        ended = super().receive_sample(logits, token, top, chances, None, *others)
        kept = own.float().cpu() if own is not None else None
        self.sampled.append(SampledToken(int(token), kept, self._plan.constraint))
        return ended


class ConstraintFilter(Filter):  # type: ignore[misc]
    """A constraint as the library's filter: its mask is computed while the GPU computes the logits.

    The library's own filter for grammars knows neither our tool calls nor our limits.
    """

    def __init__(self, constraint: Constraint) -> None:
        super().__init__(None, trigger_token=None, prefix_str=None, eos_after_completed=False)
        self._constraint = constraint

    def reset(self) -> None:
        """Do nothing: a constraint begins at its first token."""

    def accept_token(self, token: int) -> None:
        """Advance the constraint by a token."""
        self._constraint.accept(token)

    def is_completed(self) -> bool:
        """Return True if no mask is needed any more: the answer is complete, or has failed and will be ended."""
        return bool(self._constraint.complete or self._constraint.failure)

    def get_next_logit_mask(self) -> Any:
        """Return the tokens that may come next: int32 [1, words], one bit for each token, lowest bit first."""
        bits = numpy.packbits(self._constraint.allowed().astype(bool), bitorder="little")
        padded = numpy.zeros(-(-len(bits) // 4) * 4, dtype=numpy.uint8)
        padded[: len(bits)] = bits
        return torch.from_numpy(padded.view(numpy.int32))[None, :]
