"""The tokens of one request, counted once: for its budget, the usage report, the log, traces and its answer."""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import UNSET

from jan.engine.base import Delta, Event, Finished, Started
from jan.schema.sampling import CompletionTokensDetails, PromptTokensDetails, Usage


class UsedTokens(msgspec.Struct, frozen=True, kw_only=True):
    """What a request used; ``cached`` tokens of the prompt were not computed again."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0


class TokenCount:
    """Counts the tokens of a request's sequences as their events come.

    Args:
        limits: of each sequence, the most tokens of its answer; None for as many as the context takes.
        choices: so many sequences in a row are of one prompt, which counts once.
        context: the most tokens of a sequence, prompt and answer together.
    """

    def __init__(self, limits: Sequence[int | None], choices: int, context: int) -> None:
        self._limits = limits
        self._choices = choices
        self._context = context
        self._prompts: dict[int, int] = {}
        self._begun: set[int] = set()
        self._completions = [0] * len(limits)
        self._cached = self._reasoning = 0
        #: Whether the request may use what it asks for; nothing is counted of one that was refused.
        self.granted = False

    @property
    def known(self) -> int:
        """The least that the request may take, before its prompts' lengths are known."""
        return sum(min(limit or 1, self._context) for limit in self._limits)

    @property
    def all_started(self) -> bool:
        """Whether the lengths of all prompts are known."""
        return len(self._prompts) == len(self._limits)

    @property
    def bounds(self) -> tuple[int, int]:
        """The least that the request may take (one token for an answer without a limit), and the most."""
        prompt, least, most = self._prompt(self._prompts), 0, 0
        for index, limit in enumerate(self._limits):
            room = max(1, self._context - self._prompts[index])
            least += 1 if limit is None else min(limit, room)
            most += room if limit is None else min(limit, room)
        return prompt + least, prompt + most

    @property
    def used(self) -> UsedTokens | None:
        """What was taken so far; None before anything was: the prompt of what waits for a slot was not read."""
        if not self._begun or not self.granted:
            return None
        prompt = self._prompt(self._begun)
        return UsedTokens(prompt=prompt, completion=sum(self._completions), cached=self._cached)

    @property
    def usage(self) -> Usage:
        """The same as clients are told it."""
        used = self.used or UsedTokens()
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
        """Count what came of the sequence of this index; returns how many tokens were generated for it."""
        tokens = 0
        for event in events:
            if isinstance(event, Delta):
                tokens += event.tokens
                self._begun.add(index)
            elif isinstance(event, Started):
                self._prompts[index] = event.prompt_tokens
            elif isinstance(event, Finished):
                self._end(index, event)
                return tokens
        self._completions[index] += tokens
        return tokens

    def _end(self, index: int, end: Finished) -> None:
        """Take the engine's own counts, which are right to the token."""
        self._begun.add(index)
        self._prompts[index], self._completions[index] = end.prompt_tokens, end.completion_tokens
        self._reasoning += end.reasoning_tokens
        if index % self._choices == 0:
            self._cached += end.cached_tokens
