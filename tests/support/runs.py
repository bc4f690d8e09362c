"""Runs of requests on an engine, without a server."""

from collections.abc import Sequence
from time import perf_counter

from jan.engine.base import Event, GenerationRequest
from jan.engine.runtime.executor import ThreadedEngine
from jan.generation.model_request import ModelRequest
from jan.generation.pipeline import Run
from jan.generation.token_count import TokenCount
from jan.limits.ledger import Ledger, Payer
from jan.limits.limiter import Taker
from jan.limits.memory import MemoryCounters
from jan.limits.usage_writer import UsageWriter
from jan.limits.windows import Windows
from jan.schema.limits import TokenBudget
from jan.schema.scopes import Identity
from jan.settings.limits import LimitSettings
from jan.storage.accounting import UsageRecord
from jan.telemetry.metrics import Metrics
from jan.telemetry.request_record import GenerationRecord

PAYER = Payer(identity=Identity(owner="user_1", user_id="user_1"), model="test")


class UsageInMemory:
    """A usage log in memory."""

    def __init__(self) -> None:
        self.rows: list[UsageRecord] = []

    async def add(self, more: UsageRecord) -> None:
        self.rows.append(more)

    async def of(self, *_: object) -> list[UsageRecord]:
        return self.rows


class Books:
    """A ledger with a user's budgets; none means that there is no limit."""

    def __init__(self, **budget: int) -> None:
        counters, self.metrics = MemoryCounters(), Metrics()
        self.taker = Taker(counters, self.metrics)
        self.windows = Windows(LimitSettings(user=TokenBudget(**budget)))
        self.ledger = Ledger(self.windows, self.taker, UsageWriter(UsageInMemory(), counters), self.metrics)

    async def used(self) -> list[int]:
        """Return the counts of each window."""
        windows = self.windows.of_tokens(PAYER.identity)
        standings, _ = await self.taker.take([(window, 0) for window in windows])
        return [standing.counter.used for standing in standings]


def run_of(engine: ThreadedEngine, *sequences: GenerationRequest, books: Books | None = None) -> Run:
    """A run that is not started yet; every sequence is a prompt of its own."""
    books = books or Books()
    count = TokenCount([request.max_tokens for request in sequences], 1, engine.info.context_length)
    record = GenerationRecord(
        asked_for="test",
        model="test",
        is_chat=False,
        metrics=books.metrics.of_model("test"),
        began=perf_counter(),
        count=count,
    )
    asked = ModelRequest(model="test", sequences=sequences)
    return Run(engine, asked, count, record, books.ledger.open(PAYER))


class Taken:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.events: list[tuple[int, Event]] = []
        self.ended = False

    def take(self, index: int, events: Sequence[Event], _at: float, last: bool) -> None:
        assert not self.ended
        self.events += [(index, event) for event in events]
        self.ended = last

    def of(self, index: int) -> list[Event]:
        """The events of one sequence."""
        return [event for at, event in self.events if at == index]
