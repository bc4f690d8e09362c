"""The metrics of several processes as one page."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from jan.loops.merged_metrics import exposition, families_of


def process(number: int) -> CollectorRegistry:
    """The metrics of one process, which has served ``number`` requests."""
    registry = CollectorRegistry()
    served = Counter("served", "Served", ["route"], registry=registry)
    seconds = Histogram("seconds", "Seconds", buckets=(1, 2), registry=registry)
    for _ in range(number):
        served.labels("one").inc()
        seconds.observe(1.5)
    served.labels(f'only "{number}"\n').inc()
    Gauge("process_start_time_seconds", "Start", registry=registry).set(number)
    Gauge("live", "Live", registry=registry).set(number)
    return registry


def test_values_are_added_up() -> None:
    """Counters, histograms and gauges add up under their names; the start of the server is that of its first
    process."""
    page = exposition([families_of(process(2)), families_of(process(3))]).decode()
    found = {
        (sample.name, tuple(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    assert found["served_total", (("route", "one"),)] == 5
    assert found["served_total", (("route", 'only "2"\n'),)] == 1
    assert found["served_total", (("route", 'only "3"\n'),)] == 1
    assert found["seconds_bucket", (("le", "1.0"),)] == 0
    assert found["seconds_bucket", (("le", "+Inf"),)] == 5
    assert found["seconds_count", ()] == 5
    assert found["seconds_sum", ()] == 7.5
    assert found["live", ()] == 5
    assert found["process_start_time_seconds", ()] == 2


def test_an_engine_that_all_use_is_counted_once() -> None:
    """Each process has the counters of the engine that all share; those of engines of its own add up."""

    def told(finished: int) -> CollectorRegistry:
        registry = CollectorRegistry()
        counter = Counter("jan_engine_finished", "Finished", ["model"], registry=registry)
        for model in ("shared", "own"):
            counter.labels(model).inc(finished)
        Gauge("jan_engine_healthy", "Healthy", ["model"], registry=registry).labels("own").set(1)
        Gauge("jan_background_queued", "Queued, in the whole store", registry=registry).set(7)
        return registry

    page = exposition([families_of(told(5)), families_of(told(4))], {"shared"}).decode()
    assert 'jan_engine_finished_total{model="shared"} 5.0' in page
    assert 'jan_engine_finished_total{model="own"} 9.0' in page
    assert 'jan_engine_healthy{model="own"} 1.0' in page
    assert "jan_background_queued 7.0" in page


def test_one_process_is_shown_as_it_is() -> None:
    """A page of one process has the same families, of the same kinds."""
    registry = process(2)
    merged = {
        family.name: family.type
        for family in text_string_to_metric_families(exposition([families_of(registry)]).decode())
    }
    assert merged == {
        "served": "counter",
        "seconds": "histogram",
        "process_start_time_seconds": "gauge",
        "live": "gauge",
    } | {name: kind for name, kind in merged.items() if name.endswith("_created")}
