"""The ledger of tokens that are reserved, used and given back: for budgets, headers, metrics and the usage
report."""

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
    """The payer of what is generated on a model."""

    identity: Identity
    model: str

    def usage(self, used: UsedTokens, now: int) -> UsageRecord:
        """Make the store's record of one request."""
        return UsageRecord(
            user_id=self.identity.user_id or "",
            key_id=self.identity.key_id or "",
            model=self.model,
            day=datetime.fromtimestamp(now / 1000, UTC).date(),
            requests=0 if used.rest else 1,
            prompt_tokens=used.prompt,
            completion_tokens=used.completion,
            cached_tokens=used.cached,
        )


class Entry:
    """One request in the ledger. Tokens are reserved before it and settled after it."""

    def __init__(self, ledger: "Ledger", account: Payer, windows: Sequence[Window]) -> None:
        self._ledger = ledger
        self._account = account
        self._windows = windows
        self._held: dict[str, int] = {}
        self._reserved: list[tuple[Counter, int]] = []
        # Tokens reserved for a cancelled caller are given back only after the reservation is complete.
        self._busy = asyncio.Lock()

    async def reserve(self, least: int, most: int) -> tuple[Standing, ...]:
        """Reserve ``most`` tokens in total, including earlier reservations. Returns the state of the budgets.

        A request without its own limit may need more than a budget has. It then reserves the whole budget,
        provided that ``least`` fits. Raises RateLimited without reserving more. Continues if the caller is
        cancelled, so that it is known what to settle.
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
        """Give back the unused part of a reservation, or count the excess, and record the usage.

        None means that the request used nothing and leaves no record. Continues if the caller is cancelled.
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
        """Return the change of each window. If a reservation began in one window and was extended in the next, the
        next pays."""
        total = used.prompt + used.completion
        paying = {counter.key: index for index, (counter, _) in enumerate(self._reserved)}
        changes = [
            (counter, (total if paying[counter.key] == index else 0) - cost)
            for index, (counter, cost) in enumerate(self._reserved)
        ]
        return [(counter, change) for counter, change in changes if change]


class Ledger:
    """Accounts for the tokens of every request."""

    def __init__(self, windows: Windows, taker: Taker, writer: UsageWriter, metrics: Metrics) -> None:
        self.taker = taker
        self._windows = windows
        self._writer = writer
        self._metrics = metrics
        self._tasks = Tasks()

    def open(self, account: Payer) -> Entry:
        """Open an entry for one request."""
        return Entry(self, account, self._windows.of_tokens(account.identity))

    def record(self, account: Payer, used: UsedTokens) -> None:
        """Record the tokens that a request used."""
        for kind in ("prompt", "completion", "cached"):
            self._metrics.tokens.labels(account.model, f"{kind}_tokens").inc(getattr(used, kind))
        self._writer.add(account.usage(used, self.taker.clock()))

    async def usage(self, user_id: str, first: date, last: date) -> list[UsageRecord]:
        """Return a user's usage of these days, both included, ordered by day, model and key."""
        return await self._writer.of(user_id, first, last)

    async def carry_out(self, work: Coroutine[Any, Any, T]) -> T:
        """Run work that must complete even if the client disconnects."""
        if not self.taker.counters.waits:
            return await work  # which completes immediately
        return await asyncio.shield(self._tasks.start(work))

    async def adjust(self, counter: Counter, change: int) -> None:
        """Change a window. If the store can't be reached, this happens once it can."""
        try:
            await self.taker.counters.adjust(counter, change)
        except Unavailable:
            self._writer.adjust_later(counter, change)

    async def close(self, seconds: float) -> None:
        """Complete the running work and write all usage."""
        await self._tasks.close(seconds)
        await self._writer.close(seconds)
