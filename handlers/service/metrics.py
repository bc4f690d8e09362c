"""GET /metrics."""

from prometheus_client import CONTENT_TYPE_LATEST

from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.scopes import LOOPBACK_OR_ADMIN


class MetricsPage(Handler):
    """Counters and latencies."""

    @operation(
        summary="Metrics for Prometheus",
        access=LOOPBACK_OR_ADMIN,
        tag="health",
        media_type="text/plain",
        limit="none",
        examples=(Example(summary="Scrape"),),
    )
    async def get(self) -> None:
        """Everything that is counted, in Prometheus' text format. Where people elsewhere may use the models
        without credentials, this still takes an administrator's."""
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(self.services.metrics.exposition())
