"""Metrics for Prometheus. Durations are in seconds.

Every label has a closed set of values. Nothing that a client sends becomes a label.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from platform import python_version
from typing import Generic, TypeVar

import msgspec
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import HistogramMetricFamily, Metric

from jan import __version__
from jan.telemetry import histogram

_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_BETWEEN_TOKENS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 10)
_TOKENS_A_SECOND = (1, 2.5, 5, 7.5, 10, 15, 20, 30, 50, 75, 100, 150, 250, 500, 1000)
_STORE = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_INTERVAL_SECONDS = 1.0
_LAG = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


M = TypeVar("M", Counter, Histogram)


class _Labelled(Generic[M]):
    """The metrics of one name, found by their labels without the lock that prometheus_client takes."""

    def __init__(self, family: M) -> None:
        #: Return the metric with these values of the labels. They are from closed sets, so the cache is bounded.
        self.labels: Callable[..., M] = cache(family.labels)


class _TokenTimes:
    """Times between tokens, by model."""

    def __init__(self) -> None:
        self._by_model: dict[str, histogram.Histogram] = {}

    def labels(self, model: str) -> histogram.Histogram:
        return self._by_model.setdefault(model, histogram.Histogram(_BETWEEN_TOKENS))

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(
            "jan_inter_token_seconds", "Time between two tokens of an answer", labels=["model"]
        )
        for model, times in self._by_model.items():
            family.add_metric([model], times.buckets(), times.total)
        return [family]


class ModelMetrics(msgspec.Struct, frozen=True):
    """The metrics of one model, looked up once a request instead of once a token."""

    first_token: Histogram
    between_tokens: histogram.Histogram
    speed: Histogram


class Metrics:
    """The metrics of one server, in their own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        #: Returns the metrics of all web loops as one page; None if there is one loop.
        self.gather: Callable[[], Awaitable[bytes]] | None = None
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        build = Gauge(
            "jan_build_info",
            "Always 1; the labels are the running versions",
            ["version", "python_version"],
            registry=self.registry,
        )
        build.labels(__version__, python_version()).set(1)
        self._make_http()
        self._make_generation()
        self._make_store()
        self.limits_refused = self._counter(
            "jan_limits_refused", "Requests refused because a limit was used up", "limit"
        )
        self.loop_lag = Histogram(
            "jan_event_loop_lag_seconds",
            "Delay of the event loop at a timer, measured once a second",
            buckets=_LAG,
            registry=self.registry,
        )

    def _make_http(self) -> None:
        self.requests = self._counter("jan_http_requests", "Requests answered", "route", "method", "status")
        self.request_seconds = self._histogram(
            "jan_http_request_seconds",
            "From a request's arrival to the end of its response",
            _LATENCY,
            "route",
        )
        self.errors = self._counter(
            "jan_http_errors", "Errors by code, including those inside a stream", "route", "code"
        )
        self.clients_left = self._counter(
            "jan_http_clients_left", "Requests whose client disconnected before the end", "route"
        )
        self.replays = self._counter(
            "jan_http_idempotent_replays", "Requests answered with a stored answer", "route"
        )

    def _make_generation(self) -> None:
        self.first_token_seconds = self._histogram(
            "jan_first_token_seconds", "From a request's arrival to its first token", _LATENCY, "model"
        )
        self._between_tokens = _TokenTimes()
        self.registry.register(self._between_tokens)
        self._speed = self._histogram(
            "jan_output_tokens_per_second",
            "Rate of each answer after its first token",
            _TOKENS_A_SECOND,
            "model",
        )
        #: Return the metrics of each answer of a served model.
        self.of_model = cache(self._make_of_model)
        self.hook_errors = self._counter("jan_hook_errors", "Hooks that failed", "hook", "method")
        self.tokens = self._counter("jan_tokens", "Tokens read and generated", "model", "kind")

    def _make_store(self) -> None:
        self.store_seconds = self._histogram(
            "jan_store_operation_seconds", "Duration of an operation of the store", _STORE, "operation"
        )
        self.store_errors = self._counter("jan_store_errors", "Operations of the store that failed", "operation")

    def _counter(self, name: str, text: str, *labels: str) -> _Labelled[Counter]:
        return _Labelled(Counter(name, text, labels, registry=self.registry))

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> _Labelled[Histogram]:
        return _Labelled(Histogram(name, text, labels, buckets=buckets, registry=self.registry))

    def _make_of_model(self, model: str) -> ModelMetrics:
        return ModelMetrics(
            self.first_token_seconds.labels(model), self._between_tokens.labels(model), self._speed.labels(model)
        )

    def count_malformed(self, status: int, code: str) -> None:
        """Count a request that reached no handler, because it was no HTTP."""
        self.requests.labels("malformed", "other", str(status)).inc()
        self.errors.labels("malformed", code).inc()

    def exposition(self) -> bytes:
        """Format the metrics of this process in Prometheus' text format."""
        return generate_latest(self.registry)

    async def whole_exposition(self) -> bytes:
        """Format the metrics of the server, which may be several processes."""
        return self.exposition() if self.gather is None else await self.gather()


class LoopLag:
    """Measures the delay of the event loop, which delays every request."""

    def __init__(self, metrics: Metrics) -> None:
        self._lag = metrics.loop_lag
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start measuring on the running loop."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_INTERVAL_SECONDS, self._tick, loop, loop.time() + _INTERVAL_SECONDS)

    def _tick(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        now = loop.time()
        self._lag.observe(max(0.0, now - due))
        self._timer = loop.call_later(_INTERVAL_SECONDS, self._tick, loop, now + _INTERVAL_SECONDS)

    def stop(self) -> None:
        """Stop measuring the loop."""
        if self._timer is not None:
            self._timer.cancel()
