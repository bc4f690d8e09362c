"""Counts the tokens of one request once: for its budget, the usage report, the log, traces and its answer."""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import UNSET

from jan.engine.base import Delta, Event, Finished, Started
from jan.schema.sampling import CompletionTokensDetails, PromptTokensDetails, Usage


class UsedTokens(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens that a request used. ``cached`` tokens of the prompt were not computed again.

    ``rest``: others of its tokens, and the request itself, are accounted for already.
    """

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    rest: bool = False


class SequenceProgress:
    """One sequence: the tokens of its answer so far, and when they were delivered, by ``perf_counter``.

    ``first_tokens``: how many came at ``first_at``. Everything that changes with each token is in this one object,
    because other objects cost a miss of the processor's caches each.
    """

    __slots__ = ("first_at", "first_tokens", "last_at", "tokens")

    def __init__(self) -> None:
        self.tokens = self.first_tokens = 0
        self.first_at: float | None = None
        self.last_at = 0.0


class TokenCount:
    """Counts the tokens of a request's sequences as their events arrive.

    Args:
        limits: maximum tokens of each sequence's answer; None for as many as the context allows.
        choices: number of consecutive sequences that share one prompt, which counts once.
        context: maximum tokens of a sequence, prompt and answer together.
    """

    __slots__ = (
        "_begun",
        "_cached",
        "_charged",
        "_choices",
        "_context",
        "_earlier",
        "_limits",
        "_prompts",
        "_reasoning",
        "granted",
        "sequences",
    )

    def __init__(self, limits: Sequence[int | None], choices: int, context: int) -> None:
        self._limits = limits
        self._choices = choices
        self._context = context
        self._prompts: dict[int, int] = {}
        self._begun: set[int] = set()
        # What earlier attempts at the same answer made, and what of it is charged already.
        self._earlier = self._charged = UsedTokens()
        #: The progress of each sequence.
        self.sequences = [SequenceProgress() for _ in limits]
        self._cached = self._reasoning = 0
        #: True once the request may use the tokens it asks for. A refused request counts nothing.
        self.granted = False

    @property
    def known(self) -> int:
        """The least that the request can take, before the lengths of its prompts are known."""
        return sum(min(limit or 1, self._context) for limit in self._limits)

    @property
    def all_started(self) -> bool:
        """True once the lengths of all prompts are known."""
        return len(self._prompts) == len(self._limits)

    @property
    def bounds(self) -> tuple[int, int]:
        """The least (one token for an answer without a limit) and the most that the request can take."""
        prompt, least, most = self._prompt(self._prompts), 0, 0
        for index, limit in enumerate(self._limits):
            room = max(1, self._context - self._prompts[index])
            least += 1 if limit is None else min(limit, room)
            most += room if limit is None else min(limit, room)
        return prompt + least, prompt + most

    @property
    def used(self) -> UsedTokens | None:
        """The tokens used so far. None before any: the prompt of a request that waits for a slot has not been
        read."""
        if not (self._begun or self._earlier.prompt) or not self.granted:
            return None
        made, charged = self._made, self._charged
        return UsedTokens(
            prompt=max(0, made.prompt - charged.prompt),
            completion=max(0, made.completion - charged.completion),
            cached=made.cached,
            rest=charged.prompt > 0,
        )

    @property
    def _made(self) -> UsedTokens:
        """The tokens of all attempts. A later attempt reads again what earlier ones made: that does not count."""
        return UsedTokens(
            prompt=self._earlier.prompt or self._prompt(self._begun),
            completion=self._earlier.completion + sum(one.tokens for one in self.sequences),
            cached=self._cached,
        )

    @property
    def prompt_tokens(self) -> int:
        """The tokens of the prompt, that of the first attempt if there were several."""
        return self._earlier.prompt or self._prompt(self._prompts)

    def resume(self, earlier: UsedTokens, charged: UsedTokens) -> None:
        """Count what earlier attempts at the same answer made too, except what is charged already."""
        self._earlier, self._charged = earlier, charged

    @property
    def usage(self) -> Usage:
        """The tokens used so far, in the form for clients."""
        used = UsedTokens() if self.used is None else self._made
        return Usage(
            prompt_tokens=used.prompt,
            completion_tokens=used.completion,
            total_tokens=used.prompt + used.completion,
            prompt_tokens_details=PromptTokensDetails(cached_tokens=used.cached),
            completion_tokens_details=(
                CompletionTokensDetails(reasoning_tokens=self._reasoning) if self._reasoning else UNSET
            ),
        )

    def _prompt(self, indexes: Iterable[int]) -> int:
        return sum({index // self._choices: self._prompts[index] for index in indexes}.values())

    def add(self, index: int, events: Sequence[Event]) -> int:
        """Count events of the sequence at ``index``. Returns the number of tokens generated for it."""
        tokens, begun = 0, False
        for event in events:
            if isinstance(event, Delta):
                tokens += event.tokens
                begun = True
            elif isinstance(event, Started):
                self._prompts[index] = event.prompt_tokens
            elif isinstance(event, Finished):
                self._end(index, event)
                return tokens
        self.sequences[index].tokens += tokens
        if begun:
            self._begun.add(index)
        return tokens

    def _end(self, index: int, end: Finished) -> None:
        """Take over the engine's own counts at the end, which are exact."""
        self._begun.add(index)
        self._prompts[index], self.sequences[index].tokens = end.prompt_tokens, end.completion_tokens
        self._reasoning += end.reasoning_tokens
        if index % self._choices == 0:
            self._cached += end.cached_tokens
