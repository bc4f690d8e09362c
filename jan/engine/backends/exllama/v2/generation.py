"""ExLlamaV2's jobs and filters, with our own sampling rules. Importing this imports the library."""

from typing import Any

import torch
from exllamav2.generator import ExLlamaV2DynamicGenerator, ExLlamaV2DynamicJob, ExLlamaV2Sampler
from exllamav2.generator.filters import ExLlamaV2Filter

from jan.engine.backends.exllama.common.job_plan import JobPlan
from jan.engine.backends.exllama.common.logits import LogitRules, SampledToken
from jan.engine.backends.token_rules import TokenRules
from jan.engine.base import Sampling
from jan.engine.grammars.constraint import Constraint


class Generator(ExLlamaV2DynamicGenerator):  # type: ignore[misc]
    """The library's generator, without its reads past the end of a short sequence."""

    def iterate_ngram_gen(self, results: list[Any]) -> Any:
        """Guess tokens by n-grams, unless a request has fewer tokens than an n-gram looks back at."""
        ready = (job.sequences[0].sequence_ids for job in self.active_jobs if job.is_prefill_done())
        if any(len(sequence) < self.max_ngram - 1 for sequence in ready):
            return None
        return super().iterate_ngram_gen(results)


class ArrayRules(LogitRules):
    """The same rules for a numpy array.

    The library samples many answers at once on threads. PyTorch gives up Python's lock at each operation, however
    small, and then waits for it among those threads; numpy keeps it. So a bias alone needs no PyTorch.
    """

    def __init__(self, rules: TokenRules, vocabulary: int) -> None:
        super().__init__(rules, vocabulary)
        self._tokens, self._amounts = self._biased.numpy(), self._bias.numpy()
        self._bias_alone = self._forbidden is None and not self.looks_back and not self._sampling.top_n_sigma

    def apply(self, logits: Any, answer: Any) -> None:
        """Change the logits in place, as ``LogitRules`` does; ``logits`` is a numpy array of float32."""
        if not self._bias_alone:
            super().apply(torch.from_numpy(logits), answer)
        elif len(self._tokens):
            logits[self._tokens] += self._amounts


class SampledJob(ExLlamaV2DynamicJob):  # type: ignore[misc]
    """A job that reports each token at once, in ``sampled``.

    The library's own results hold tokens back, and give logits only after penalties and filters. Its own penalties
    also count the prompt's tokens.
    """

    def __init__(self, plan: JobPlan) -> None:
        super().__init__(
            input_ids=torch.tensor([plan.tokens], dtype=torch.long),  # [1, prompt tokens]
            max_new_tokens=plan.limit,
            gen_settings=settings_of(plan.rules.sampling),
            seed=plan.rules.sampling.seed,
            stop_conditions=list(plan.rules.stop_tokens),
            filters=[] if plan.constraint is None else [ConstraintFilter(plan.constraint)],
        )
        self._plan = plan
        self._rules = ArrayRules(plan.rules, plan.vocabulary)
        self._logits: Any = None
        self.sampled: list[SampledToken] = []

    def prepare_for_queue(self, generator: Any, serial_number: int) -> None:
        """Hash the prompt's pages, and shrink a buffer."""
        super().prepare_for_queue(generator, serial_number)
        # Allocated for 256 tokens x vocabulary, but only used if the library returns logits, which it does not.
        self.held_logits.tensor = torch.empty((1, 1, 1))

    def receive_logits(self, logits: Any) -> Any:
        """Sample a token. Runs on one of the library's threads; a job never runs on two at once.

        Args:
            logits: float32 [1, 1, vocab + padding]: batch and position are 1, because each job samples one token.
        """
        row = logits.numpy()[0, 0]  # a view, [vocab + padding]: changed in place, and then sampled by the library
        self._rules.mask_padding(row)
        self._logits = torch.from_numpy(row.copy()) if self._plan.keep_logits else None
        answer = None
        if self._rules.looks_back:  # [1, tokens] -> the answer's tokens
            answer = self.sequences[0].sequence_ids.torch()[0, len(self._plan.tokens) :]
        self._rules.apply(row, answer)
        return super().receive_logits(logits)

    def receive_sample(self, logits: Any, next_token: Any, *others: Any) -> Any:
        """Record a sampled token, int64 [1, 1]. Runs on the engine's thread."""
        ended = super().receive_sample(logits, next_token, *others)
        self.sampled.append(SampledToken(int(next_token), self._logits, self._plan.constraint))
        return ended


class ConstraintFilter(ExLlamaV2Filter):  # type: ignore[misc]
    """A constraint as the library's filter: its mask is computed while the GPU computes the logits."""

    def __init__(self, constraint: Constraint) -> None:
        # A filter needs no model or tokenizer, and would keep them alive.
        super().__init__(None, None)
        self._constraint = constraint
        self._allowed: Any = None

    def begin(self, prefix_str: str) -> None:
        """Do nothing: a constraint begins at its first token."""

    def feed(self, token: Any) -> None:
        """Advance the constraint by a token."""
        self._constraint.accept(int(token))

    def use_background_worker(self) -> bool:
        """Return True: the library computes the mask in its background thread."""
        return True

    def can_mask_logits(self) -> bool:
        """Return True: the library calls ``prepare_logit_mask`` and ``mask_logits``."""
        return True

    def prepare_logit_mask(self) -> bool:
        """Compute which tokens may come next."""
        ended = self._constraint.complete or self._constraint.failure
        self._allowed = None if ended else torch.from_numpy(self._constraint.allowed()).bool()
        return True

    def mask_logits(self, logits: Any) -> Any:
        """Set the logits of forbidden tokens to -inf, in place; none if the answer is complete or failed.

        Args:
            logits: float [vocab + padding].
        """
        if self._allowed is not None:
            size = min(len(logits), len(self._allowed))
            logits[:size].masked_fill_(~self._allowed[:size], float("-inf"))
        return logits


def settings_of(sampling: Sampling) -> Any:
    """Return the library's settings, whose own defaults are not neutral. The job applies penalties and bias.

    The library's order: temperature, top_k, top_p, min_p, typical, Mirostat, dynamic temperature, XTC, the draw.
    """
    coldest = sampling.temperature == 0 and not sampling.dynatemp_range
    # To the library, a top_p of 0 and a min_p of 1 mean off, not "only the likeliest token".
    greedy = coldest or sampling.top_p == 0 or sampling.min_p >= 1
    return ExLlamaV2Sampler.Settings(
        # A dynamic temperature is applied at the end instead.
        temperature=1.0 if greedy or sampling.dynatemp_range else sampling.temperature,
        top_k=1 if greedy else sampling.top_k,
        top_p=0.0 if greedy or sampling.top_p >= 1 else sampling.top_p,
        min_p=0.0 if greedy else sampling.min_p,
        token_repetition_penalty=1.0,
        **_others_of(sampling),
    )


def _others_of(sampling: Sampling) -> dict[str, Any]:
    """Return the settings of the library's other samplers, as far as they are on."""
    others: dict[str, Any] = {}
    if sampling.typical_p < 1:
        others["typical"] = sampling.typical_p
    if sampling.mirostat:
        others |= {"mirostat": True, "mirostat_tau": sampling.mirostat_tau, "mirostat_eta": sampling.mirostat_eta}
    if sampling.dynatemp_range:
        least = max(0.0, sampling.temperature - sampling.dynatemp_range)
        most = sampling.temperature + sampling.dynatemp_range
        others |= {"min_temp": least, "max_temp": most, "temp_exponent": sampling.dynatemp_exponent}
    if sampling.xtc_probability:
        # The library's default keeps line breaks, which llama.cpp does not.
        others |= {
            "xtc_probability": sampling.xtc_probability,
            "xtc_threshold": sampling.xtc_threshold,
            "xtc_ignore_tokens": frozenset(),
        }
    return others
