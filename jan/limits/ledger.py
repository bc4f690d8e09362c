"""What tokens are reserved, used and given back: one ledger for budgets, headers, metrics and the usage report."""

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import msgspec

from jan.errors import Unavailable
from jan.generation.token_count import UsedTokens
from jan.limits.headers import exceeds_whole_window
from jan.limits.limiter import Taker
from jan.limits.usage_writer import UsageWriter
from jan.limits.windows import Standing, Window, Windows
from jan.schema.scopes import Identity
from jan.storage.accounting import Counter, UsageRecord
from jan.tasks import Tasks
from jan.telemetry.metrics import Metrics

T = TypeVar("T")


class Payer(msgspec.Struct, frozen=True, kw_only=True):
    """Who pays for what is generated on which model."""

    identity: Identity
    model: str

    def usage(self, used: UsedTokens, now: int) -> UsageRecord:
        """One request as the store keeps it."""
        return UsageRecord(
            user_id=self.identity.user_id or "",
            key_id=self.identity.key_id or "",
            model=self.model,
            day=datetime.fromtimestamp(now / 1000, UTC).date(),
            requests=1,
            prompt_tokens=used.prompt,
            completion_tokens=used.completion,
            cached_tokens=used.cached,
        )


class Entry:
    """One request: what it may take is reserved before, what it took is settled after."""

    def __init__(self, ledger: "Ledger", account: Payer, windows: Sequence[Window]) -> None:
        self._ledger = ledger
        self._account = account
        self._windows = windows
        self._held: dict[str, int] = {}
        self._reserved: list[tuple[Counter, int]] = []
        # What is taken after its caller was cancelled is given back after it was taken.
        self._busy = asyncio.Lock()

    async def reserve(self, least: int, most: int) -> tuple[Standing, ...]:
        """Reserve ``most`` tokens in all, with those reserved before; how the budgets stand then.

        A request without a limit of its own may take more than a budget has: then the whole of it is reserved,
        if ``least`` is no more. Raises RateLimited, with nothing more reserved. Goes on when the caller is
        cancelled, so that it is known what there is to settle.
        """
        for window in self._windows:
            if least > window.limit:
                self._ledger.taker.count_refusal(window)
                raise exceeds_whole_window(window, least)
        if not self._windows:
            return ()
        wanted = [
            (window, max(0, min(most, window.limit) - self._held.get(window.key, 0))) for window in self._windows
        ]
        return await self._ledger.carry_out(self._take(wanted))

    async def _take(self, wanted: Sequence[tuple[Window, int]]) -> tuple[Standing, ...]:
        async with self._busy:
            standings, refused = await self._ledger.taker.take(wanted, self._held)
            if refused is not None:
                raise refused
            for standing, (window, cost) in zip(standings, wanted, strict=True):
                self._held[window.key] = self._held.get(window.key, 0) + cost
                self._reserved.append((standing.counter, cost))
            return standings

    async def settle(self, used: UsedTokens | None) -> None:
        """Give back what was reserved and not used, or count what was used beyond; record the usage.

        None: nothing came of the request, and nothing is recorded. Goes on when the caller is cancelled.
        """
        if used is not None:
            self._ledger.record(self._account, used)
        if self._windows:
            await self._ledger.carry_out(self._give_back(used or UsedTokens()))

    async def _give_back(self, used: UsedTokens) -> None:
        async with self._busy:
            for counter, change in self._changes(used):
                await self._ledger.adjust(counter, change)

    def _changes(self, used: UsedTokens) -> list[tuple[Counter, int]]:
        """By window of time: a reservation may have been begun in one and extended in the next, which pays."""
        total = used.prompt + used.completion
        paying = {counter.key: index for index, (counter, _) in enumerate(self._reserved)}
        changes = [
            (counter, (total if paying[counter.key] == index else 0) - cost)
            for index, (counter, cost) in enumerate(self._reserved)
        ]
        return [(counter, change) for counter, change in changes if change]


class Ledger:
    """Every request's tokens."""

    def __init__(self, windows: Windows, taker: Taker, writer: UsageWriter, metrics: Metrics) -> None:
        self.taker = taker
        self._windows = windows
        self._writer = writer
        self._metrics = metrics
        self._tasks = Tasks()

    def open(self, account: Payer) -> Entry:
        """An entry for one request."""
        return Entry(self, account, self._windows.of_tokens(account.identity))

    def record(self, account: Payer, used: UsedTokens) -> None:
        """Note what a request used."""
        for kind in used.__struct_fields__:
            self._metrics.tokens.labels(account.model, f"{kind}_tokens").inc(getattr(used, kind))
        self._writer.add(account.usage(used, self.taker.clock()))

    async def usage(self, user_id: str, first: date, last: date) -> list[UsageRecord]:
        """A user's usage of these days, both included; by day, model and key."""
        return await self._writer.of(user_id, first, last)

    async def carry_out(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something that a client who leaves must not cut short."""
        if not self.taker.counters.waits:
            return await work  # which comes to its end at once
        return await asyncio.shield(self._tasks.start(work))

    async def adjust(self, counter: Counter, change: int) -> None:
        """Change a window, when the store is back if it is away."""
        try:
            await self.taker.counters.adjust(counter, change)
        except Unavailable:
            self._writer.adjust_later(counter, change)

    async def close(self, seconds: float) -> None:
        """End what is under way, and write all usage."""
        await self._tasks.close(seconds)
        await self._writer.close(seconds)
