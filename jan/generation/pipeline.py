"""What every generation has around it: tokens reserved before, counted while, settled after, whatever happens."""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Protocol

import msgspec

from jan.engine.base import ChatPrompt, Delta, Event, Finished, GenerationRequest, Started
from jan.engine.runtime.fanout import fan_out
from jan.limits import Payer
from jan.limits.ledger import UsedTokens
from jan.limits.windows import Standing
from jan.schema.scopes import Identity
from jan.services import Services
from jan.telemetry.request_record import GenerationRecord


class Caller(Protocol):
    """What a generation needs of the handler that it is for."""

    services: Services
    identity: Identity
    began: float
    log_fields: dict[str, Any]
    generation: GenerationRecord | None
    tokens_left: tuple[Standing, ...]


class Tally:
    """Counts one request's tokens. ``choices``: how many sequences in a row are of one prompt, which counts
    once; ``context``: the most tokens of a sequence."""

    def __init__(self, requests: Sequence[GenerationRequest], choices: int, context: int) -> None:
        self._limits = [request.max_tokens for request in requests]
        self._choices = choices
        self._context = context
        self._prompts: dict[int, int] = {}
        self._begun: set[int] = set()
        self._completions = [0] * len(requests)
        self._cached = 0

    @property
    def known(self) -> int:
        """What the request may take at least, before its prompts' lengths are known."""
        return sum(min(limit or 1, self._context) for limit in self._limits)

    @property
    def all_started(self) -> bool:
        """Whether the lengths of all prompts are known."""
        return len(self._prompts) == len(self._limits)

    @property
    def bounds(self) -> tuple[int, int]:
        """What the request may take: at least (an answer without a limit may have one token), at most."""
        prompt, least, most = self._prompt(self._prompts), 0, 0
        for index, limit in enumerate(self._limits):
            room = max(1, self._context - self._prompts[index])
            least += 1 if limit is None else min(limit, room)
            most += room if limit is None else min(limit, room)
        return prompt + least, prompt + most

    @property
    def used(self) -> UsedTokens | None:
        """What it took so far; None before it took anything: the prompt of what waits for a slot was not read."""
        if not self._begun:
            return None
        prompt = self._prompt(self._begun)
        return UsedTokens(prompt=prompt, completion=sum(self._completions), cached=self._cached)

    def _prompt(self, indexes: Iterable[int]) -> int:
        return sum({index // self._choices: self._prompts[index] for index in indexes}.values())

    def add(self, index: int, event: Event) -> None:
        """Something came of the sequence of this index."""
        if isinstance(event, Started):
            self._prompts[index] = event.prompt_tokens
        elif isinstance(event, Delta):
            self._begun.add(index)
            self._completions[index] += event.tokens
        elif isinstance(event, Finished):
            self._begun.add(index)
            self._prompts[index], self._completions[index] = event.prompt_tokens, event.completion_tokens
            if index % self._choices == 0:
                self._cached += event.cached_tokens


async def generate(
    caller: Caller, model: str, requests: Sequence[GenerationRequest], choices: int
) -> AsyncGenerator[tuple[int, Event], None]:
    """The events of all requests, each with its request's index; ``choices`` in a row are of one prompt.

    Raises NotFound for an unknown model, RateLimited where a budget is used up, and what the engine refuses;
    all of these before the first event.
    """
    services = caller.services
    engine = await services.models.engine(model)
    name = services.models.get(model).id
    caller.generation = seen = GenerationRecord(
        asked_for=model,
        model=name,
        is_chat=isinstance(requests[0].prompt, ChatPrompt),
        metrics=services.metrics.of_model(name),
        began=caller.began,
    )
    tally = Tally(requests, choices, engine.info.context_length)
    entry = services.ledger.open(Payer(identity=caller.identity, model=name))
    granted = False
    try:
        caller.tokens_left = await entry.reserve(tally.known, tally.known)
        async with aclosing(fan_out(engine, requests)) as events:
            held: list[tuple[int, Event]] = []
            async for index, event in events:
                tally.add(index, event)
                seen.note(index, event)
                if not granted:
                    # They come all at once: nothing is sent before all of the request may go on.
                    held.append((index, event))
                    if tally.all_started:
                        caller.tokens_left = await entry.reserve(*tally.bounds)
                        granted = True
                        for pair in held:
                            yield pair
                    continue
                yield index, event
    finally:
        used = tally.used if granted else None
        seen.prompt_tokens, seen.completion_tokens, seen.cached_tokens = msgspec.structs.astuple(
            used or UsedTokens()
        )
        await entry.settle(used)
