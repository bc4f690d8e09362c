"""The metrics of all web loops as those of one server, under the same names."""

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from jan.loops.questions import Family, Sample

# What does not add up: the same in all processes, or, of the moment at which a process began, the first one. An
# engine is healthy if all processes can use it.
_LEAST = frozenset(
    {"process_start_time_seconds", "process_max_fds", "jan_build_info", "python_info", "jan_engine_healthy"}
)
# What each process tells of the whole server.
_GREATEST = frozenset({"jan_background_queued", "jan_engine_loaded"})
_OF_ENGINES = "jan_engine_"


class Collector(Protocol):
    """A source of metrics, such as a registry."""

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they are now."""
        ...


def families_of(collector: Collector) -> list[Family]:
    """Return the metrics of this process in a form that can be sent to another."""
    return [
        Family(
            metric.name, metric.documentation, metric.type, tuple(Sample(*given[:3]) for given in metric.samples)
        )
        for metric in collector.collect()
    ]


def exposition(processes: Iterable[Sequence[Family]], shared: Collection[str] = ()) -> bytes:
    """Format the metrics of several processes in Prometheus' text format, added up.

    ``shared``: models of which each process has the counters of the one engine that all use.
    """
    registry = CollectorRegistry()
    registry.register(_Merged(processes, shared))
    return generate_latest(registry)


class _Merged:
    """A collector of metrics that were collected elsewhere."""

    def __init__(self, processes: Iterable[Sequence[Family]], shared: Collection[str]) -> None:
        self._shared = shared
        self._metrics: dict[str, Metric] = {}
        values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
        for families in processes:
            for family in families:
                if family.name not in self._metrics:
                    self._metrics[family.name] = Metric(family.name, family.text, family.kind)
                merged = values.setdefault(family.name, {})
                for sample in family.samples:
                    key = sample.name, tuple(sample.labels.items())
                    merged[key] = self._together(family.name, merged.get(key), sample)
        for name, merged in values.items():
            for (sample_name, labels), value in merged.items():
                self._metrics[name].add_sample(sample_name, dict(labels), value)

    def collect(self) -> Iterable[Metric]:
        return self._metrics.values()

    def _together(self, name: str, before: float | None, sample: Sample) -> float:
        if before is None:
            return sample.value
        if name in _LEAST or name.endswith("_created"):
            return min(before, sample.value)
        of_shared = name.startswith(_OF_ENGINES) and sample.labels.get("model") in self._shared
        return max(before, sample.value) if of_shared or name in _GREATEST else before + sample.value
