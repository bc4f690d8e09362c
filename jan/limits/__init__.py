"""Limits: requests and tokens within windows of time, and the ledger of what was used. Knows nothing of HTTP's
server; time in milliseconds since 1970 unless it says otherwise."""

from jan.limits.headers import LIMIT_HEADERS, RETRY_HEADERS, request_headers, token_headers
from jan.limits.ledger import Ledger, Payer, UsedTokens
from jan.limits.limiter import Limiter, Taker, Verdict
from jan.limits.memory import FailoverCounters, MemoryCounters
from jan.limits.usage_writer import UsageWriter
from jan.limits.windows import Standing, Windows
from jan.settings import Settings
from jan.storage.accounting import Counters, UsageLog
from jan.telemetry.metrics import Metrics

__all__ = [
    "LIMIT_HEADERS",
    "RETRY_HEADERS",
    "Ledger",
    "Limiter",
    "Payer",
    "Standing",
    "UsageLimits",
    "UsedTokens",
    "Verdict",
    "request_headers",
    "token_headers",
]

# How long the last usage may take to be written when the server stops.
_CLOSE_SECONDS = 5.0


class UsageLimits:
    """Limits and ledger of a server, as configured; ``shared`` counts for all processes of one store."""

    def __init__(self, settings: Settings, shared: Counters, usage: UsageLog, metrics: Metrics) -> None:
        counted_in = settings.limits.counted_in
        if counted_in == "auto":
            counted_in = "store" if settings.storage_url.startswith("mongodb") else "memory"
        counters = FailoverCounters(shared) if counted_in == "store" else MemoryCounters()
        taker, windows = Taker(counters, metrics), Windows(settings.limits)
        self._writer = UsageWriter(usage, counters)
        self.limiter = Limiter(windows, taker)
        self.ledger = Ledger(windows, taker, self._writer, metrics)

    def start(self) -> None:
        """Begin to write usage."""
        self._writer.start()

    async def close(self) -> None:
        """Settle and write what there is; the store is closed after this."""
        await self.ledger.close(_CLOSE_SECONDS)
