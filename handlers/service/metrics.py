"""GET /metrics for Prometheus."""

from prometheus_client import CONTENT_TYPE_LATEST

from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.scopes import LOOPBACK_OR_ADMIN


class MetricsPage(Handler):
    """The server's counters and latencies."""

    @operation(
        summary="Metrics for Prometheus",
        access=LOOPBACK_OR_ADMIN,
        tag="health",
        media_type="text/plain",
        limit="none",
        examples=(Example(summary="Scrape"),),
    )
    async def get(self) -> None:
        """Return all metrics in Prometheus' text format. Requires an administrator's credentials, unless the
        server admits anonymous callers on loopback only."""
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(await self.services.metrics.whole_exposition())
