"""The metrics of all web loops as those of one server, under the same names."""

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from jan.loops.questions import Family, Sample

# What does not add up: the same in all processes, or, of the moment at which a process began, the first one.
_LEAST = frozenset({"process_start_time_seconds", "process_max_fds", "jan_build_info", "python_info"})


def families_of(registry: CollectorRegistry) -> list[Family]:
    """Return the metrics of this process in a form that can be sent to another."""
    return [
        Family(
            metric.name, metric.documentation, metric.type, tuple(Sample(*given[:3]) for given in metric.samples)
        )
        for metric in registry.collect()
    ]


def exposition(processes: Iterable[Sequence[Family]]) -> bytes:
    """Format the metrics of several processes in Prometheus' text format, added up."""
    registry = CollectorRegistry()
    registry.register(_Merged(processes))
    return generate_latest(registry)


class _Merged:
    """A collector of metrics that were collected elsewhere."""

    def __init__(self, processes: Iterable[Sequence[Family]]) -> None:
        self._metrics: dict[str, Metric] = {}
        values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
        for families in processes:
            for family in families:
                if family.name not in self._metrics:
                    self._metrics[family.name] = Metric(family.name, family.text, family.kind)
                merged = values.setdefault(family.name, {})
                for sample in family.samples:
                    key = sample.name, tuple(sample.labels.items())
                    merged[key] = _together(family.name, merged.get(key), sample.value)
        for name, merged in values.items():
            for (sample_name, labels), value in merged.items():
                self._metrics[name].add_sample(sample_name, dict(labels), value)

    def collect(self) -> Iterable[Metric]:
        return self._metrics.values()


def _together(name: str, one: float | None, other: float) -> float:
    if one is None:
        return other
    return min(one, other) if name in _LEAST or name.endswith("_created") else one + other
