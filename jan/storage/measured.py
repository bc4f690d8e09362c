"""Measures every operation of a store, on any backend, as its users see it."""

import inspect
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, cast

from jan.errors import JanError, status_of
from jan.storage.repositories import Store
from jan.telemetry.metrics import Metrics


def measured(store: Store, metrics: Metrics) -> Store:
    """Return the same store with every operation measured.

    An operation is labelled by repository and name, such as ``users.get``. A missing or already existing object is
    an answer and does not count as an error of the store.
    """
    return cast("Store", _MeasuredStore(store, metrics))


class _MeasuredRepository:
    """An object whose public coroutine methods are replaced by measured ones."""

    def __init__(self, target: object, prefix: str, metrics: Metrics) -> None:
        for name, method in inspect.getmembers(target, inspect.iscoroutinefunction):
            if not name.startswith("_"):
                setattr(self, name, _measured(method, prefix + name, metrics))


class _MeasuredStore(_MeasuredRepository):
    def __init__(self, store: Store, metrics: Metrics) -> None:
        super().__init__(store, "", metrics)
        for name, member in inspect.getmembers(Store):
            if isinstance(member, property):
                setattr(self, name, _MeasuredRepository(getattr(store, name), f"{name}.", metrics))


def _measured(
    method: Callable[..., Awaitable[Any]], operation: str, metrics: Metrics
) -> Callable[..., Awaitable[Any]]:
    # Created at start-up, not on first use: a rate needs the zero before the first error.
    seconds, errors = metrics.store_seconds.labels(operation), metrics.store_errors.labels(operation)

    async def measured(*arguments: Any, **named: Any) -> Any:
        began = perf_counter()
        try:
            return await method(*arguments, **named)
        except JanError as error:
            if status_of(type(error)) >= 500:
                errors.inc()
            raise
        finally:
            seconds.observe(perf_counter() - began)

    return measured
