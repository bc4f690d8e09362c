"""What is counted and measured, for Prometheus. Durations in seconds."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """One server's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "jan_http_requests", "Requests answered", ["route", "method", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "jan_http_request_seconds",
            "From the request's arrival to the end of its response",
            ["route"],
            buckets=_LATENCY,
            registry=self.registry,
        )
        self.first_token_seconds = Histogram(
            "jan_first_token_seconds",
            "From the request's arrival to its first token",
            ["model"],
            buckets=_LATENCY,
            registry=self.registry,
        )
        self.tokens = Counter("jan_tokens", "Tokens read and generated", ["model", "kind"], registry=self.registry)

    def exposition(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self.registry)
