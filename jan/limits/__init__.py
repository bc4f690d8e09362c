"""Rate limits and token budgets within windows of time, and the ledger of used tokens.

Independent of the HTTP server. Times are in milliseconds since 1970 unless stated otherwise.
"""

from jan.limits.headers import LIMIT_HEADERS, RETRY_HEADERS, request_headers, token_headers
from jan.limits.ledger import Ledger, Payer
from jan.limits.limiter import Limiter, Taker, Verdict
from jan.limits.memory import FailoverCounters
from jan.limits.usage_writer import UsageWriter
from jan.limits.windows import Standing, Windows, tightest
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
    "Verdict",
    "request_headers",
    "tightest",
    "token_headers",
]

# How long writing the remaining usage may take when the server stops.
_CLOSE_SECONDS = 5.0


class UsageLimits:
    """The configured limits and the ledger of a server. ``shared`` counts for all processes of one store, ``own``
    for this server alone."""

    def __init__(
        self, settings: Settings, shared: Counters, own: Counters, usage: UsageLog, metrics: Metrics
    ) -> None:
        counted_in = settings.limits.counted_in
        if counted_in == "auto":
            counted_in = "store" if settings.storage_url.startswith("mongodb") else "memory"
        counters = FailoverCounters(shared) if counted_in == "store" else own
        taker, windows = Taker(counters, metrics), Windows(settings.limits)
        self._writer = UsageWriter(usage, counters)
        self.limiter = Limiter(windows, taker)
        self.ledger = Ledger(windows, taker, self._writer, metrics)

    def start(self) -> None:
        """Start to write usage."""
        self._writer.start()

    async def close(self) -> None:
        """Settle all requests and write their usage. Call it before the store is closed."""
        await self.ledger.close(_CLOSE_SECONDS)
