"""The library's jobs and filters with our own sampling around them. Importing this imports the library."""

from collections.abc import Sequence
from typing import Any

import torch
from exllamav2.generator import ExLlamaV2DynamicGenerator, ExLlamaV2DynamicJob, ExLlamaV2Sampler
from exllamav2.generator.filters import ExLlamaV2Filter

from jan.engine.backends.exllama.common.logits import LogitRules, Sampled
from jan.engine.base import Sampling
from jan.engine.grammars.constraint import Constraint


class Generator(ExLlamaV2DynamicGenerator):  # type: ignore[misc]
    """The library's generator, where it reads past the end of a short sequence."""

    def iterate_ngram_gen(self, results: list[Any]) -> Any:
        """Guess; nothing while a request has fewer tokens than an n-gram looks back at."""
        ready = (job.sequences[0].sequence_ids for job in self.active_jobs if job.is_prefill_done())
        if any(len(sequence) < self.max_ngram - 1 for sequence in ready):
            return None
        return super().iterate_ngram_gen(results)


class SampledJob(ExLlamaV2DynamicJob):  # type: ignore[misc]
    """A job that tells each token at once, in ``sampled``.

    The library's own results hold tokens back and give logits only after penalties and filters; its penalties
    count the prompt too.
    """

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
            gen_settings=settings_of(sampling),
            seed=sampling.seed,
            stop_conditions=list(stop_tokens),
            filters=[] if constraint is None else [ConstraintFilter(constraint)],
        )
        self._rules = LogitRules(sampling, vocabulary)
        self._constraint = constraint
        self._prompt_tokens = len(tokens)
        self._keep_logits = keep_logits
        self._logits: Any = None
        self.sampled: list[Sampled] = []

    def prepare_for_queue(self, generator: Any, serial_number: int) -> None:
        """Hash the prompt's pages."""
        super().prepare_for_queue(generator, serial_number)
        # Made for 256 tokens of the whole vocabulary, and never used unless the library returns logits.
        self.held_logits.tensor = torch.empty((1, 1, 1))

    def receive_logits(self, logits: Any) -> Any:
        """Sample; runs on a thread of the library's, one job on one thread."""
        row = logits[0, 0]
        self._rules.drop_padding(row)
        self._logits = row.clone() if self._keep_logits else None
        self._rules.apply(row, self.sequences[0].sequence_ids.torch()[0, self._prompt_tokens :])
        return super().receive_logits(logits)

    def receive_sample(self, logits: Any, next_token: Any, *others: Any) -> Any:
        """Take a token in; on the engine's thread."""
        ended = super().receive_sample(logits, next_token, *others)
        self.sampled.append(Sampled(int(next_token), self._logits, self._constraint))
        return ended


class ConstraintFilter(ExLlamaV2Filter):  # type: ignore[misc]
    """A constraint as the library wants it: its mask is made while the GPU computes the logits."""

    def __init__(self, constraint: Constraint) -> None:
        # Neither model nor tokenizer is needed, and a filter keeps them alive.
        super().__init__(None, None)
        self._constraint = constraint
        self._allowed: Any = None

    def begin(self, prefix_str: str) -> None:
        """Nothing was said yet."""

    def feed(self, token: Any) -> None:
        """Advance by a token."""
        self._constraint.accept(int(token))

    def use_background_worker(self) -> bool:
        """Yes."""
        return True

    def can_mask_logits(self) -> bool:
        """Yes."""
        return True

    def prepare_logit_mask(self) -> bool:
        """Find out what may come next."""
        ended = self._constraint.complete or self._constraint.failure
        self._allowed = None if ended else torch.from_numpy(self._constraint.allowed()).bool()
        return True

    def mask_logits(self, logits: Any) -> Any:
        """Leave only what is allowed; everything, if the answer is complete and this token is not wanted."""
        if self._allowed is not None:
            size = min(len(logits), len(self._allowed))
            logits[:size].masked_fill_(~self._allowed[:size], float("-inf"))
        return logits


def settings_of(sampling: Sampling) -> Any:
    """The library's settings; its own defaults are not neutral. Penalties and bias are the job's."""
    greedy = sampling.temperature == 0 or sampling.top_p == 0
    return ExLlamaV2Sampler.Settings(
        temperature=1.0 if greedy else sampling.temperature,
        # To the library 0 is 'off', not 'only the likeliest'.
        top_k=1 if greedy else sampling.top_k,
        top_p=0.0 if greedy or sampling.top_p >= 1 else sampling.top_p,
        min_p=0.0 if greedy else sampling.min_p,
        token_repetition_penalty=1.0,
    )
