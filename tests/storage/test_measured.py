"""Every operation of a store is measured, whichever backend it is."""

import inspect

import pytest

from jan.errors import NotFound, Unavailable
from jan.storage import repositories as base
from jan.storage import store_from_url
from jan.storage.measured import MeasuredStore
from jan.storage.records import User
from jan.telemetry.metrics import Metrics


def sample(metrics: Metrics, name: str, operation: str) -> float | None:
    return metrics.registry.get_sample_value(name, {"operation": operation})


async def test_successes_and_answers_are_no_errors(url: str) -> None:
    """Stored, found and missing objects all count as done, and none as an error."""
    metrics = Metrics()
    store = MeasuredStore(store_from_url(url), metrics)
    await store.open()
    user = User(email="a@example.com")
    await store.users.create(user)
    assert await store.users.get(user.id) == user
    with pytest.raises(NotFound):
        await store.users.get("user_none")
    await store.ping()
    await store.close()
    assert sample(metrics, "jan_store_operation_seconds_count", "users.get") == 2
    assert sample(metrics, "jan_store_operation_seconds_count", "users.create") == 1
    assert sample(metrics, "jan_store_operation_seconds_count", "ping") == 1
    assert sample(metrics, "jan_store_errors_total", "users.get") == 0


@pytest.mark.parametrize("away", ["sqlite:///never-opened.db", "mongodb://127.0.0.1:1/jan"])
async def test_a_store_that_is_away_is_an_error(away: str) -> None:
    """Unavailable is raised as before, and counted."""
    metrics = Metrics()
    store = MeasuredStore(store_from_url(away, timeout=0.2), metrics)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await store.users.get("user_1")
    assert sample(metrics, "jan_store_errors_total", "users.get") == 2
    assert sample(metrics, "jan_store_operation_seconds_count", "users.get") == 2


def test_it_has_all_that_a_store_has() -> None:
    """Each operation of the contract is there and measured; what is no operation is passed on."""
    metrics = Metrics()
    original = store_from_url("sqlite:///never-opened.db")
    store: base.Store = MeasuredStore(original, metrics)
    names = ["open", "close", "ping"]
    for name, member in inspect.getmembers(base.Store):
        if isinstance(member, property):
            contract = inspect.signature(member.fget).return_annotation
            operations = [operation for operation, _ in inspect.getmembers(contract, inspect.iscoroutinefunction)]
            assert all(callable(getattr(getattr(store, name), operation)) for operation in operations)
            # Dashboards and alarms know the idempotent answers by this label.
            label = "answers" if name == "idempotent_answers" else name
            names += [f"{label}.{operation}" for operation in operations]
    assert len(names) > 40
    for operation in names:
        assert sample(metrics, "jan_store_operation_seconds_count", operation) == 0, operation
    assert store.counters.waits == original.counters.waits
