"""Measures every operation of a store, on any backend, as its users see it."""

import inspect
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, TypeVar, cast

from jan.errors import JanError, status_of
from jan.storage.repositories import Store
from jan.telemetry.metrics import Metrics

T = TypeVar("T")


class MeasuredStore:
    """A store whose operations are measured, each labelled by repository and method, such as ``users.get``.

    The repositories are those of the store it is made of, with the same types.
    """

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self.users = _measured(store.users, "users.", metrics)
        self.keys = _measured(store.keys, "keys.", metrics)
        self.sessions = _measured(store.sessions, "sessions.", metrics)
        self.conversations = _measured(store.conversations, "conversations.", metrics)
        self.messages = _measured(store.messages, "messages.", metrics)
        self.folders = _measured(store.folders, "folders.", metrics)
        self.completions = _measured(store.completions, "completions.", metrics)
        self.queued_answers = _measured(store.queued_answers, "queued_answers.", metrics)
        self.shares = _measured(store.shares, "shares.", metrics)
        self.presets = _measured(store.presets, "presets.", metrics)
        # Dashboards and alarms know them by this label.
        self.idempotent_answers = _measured(store.idempotent_answers, "answers.", metrics)
        self.counters = _measured(store.counters, "counters.", metrics)
        self.usage = _measured(store.usage, "usage.", metrics)
        self.audit = _measured(store.audit, "audit.", metrics)
        self.holdings = _measured(store.holdings, "holdings.", metrics)
        self.deletions = _measured(store.deletions, "deletions.", metrics)
        self.search = _measured(store.search, "search.", metrics)
        self.archive = _measured(store.archive, "archive.", metrics)
        self._store = _measured(store, "", metrics)

    async def open(self) -> None:
        """Open the store, as ``Store.open`` does."""
        await self._store.open()

    async def close(self) -> None:
        """Close the store, as ``Store.close`` does."""
        await self._store.close()

    async def ping(self) -> None:
        """Ask the store for a sign of life, as ``Store.ping`` does."""
        await self._store.ping()


def _measured(target: T, prefix: str, metrics: Metrics) -> T:
    """Return a stand-in for ``target`` with the same attributes, whose public coroutine methods are measured."""
    # A cast, because no type says "the same object with other methods"; the stand-in passes on all the rest.
    return cast("T", _StandIn(target, prefix, metrics))


class _StandIn:
    """Takes an object's place: its public coroutine methods are measured, everything else is its own."""

    def __init__(self, target: object, prefix: str, metrics: Metrics) -> None:
        self._target = target
        for name, method in inspect.getmembers(target, inspect.iscoroutinefunction):
            if not name.startswith("_"):
                setattr(self, name, _measured_method(method, prefix + name, metrics))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)


def _measured_method(
    method: Callable[..., Awaitable[Any]], operation: str, metrics: Metrics
) -> Callable[..., Awaitable[Any]]:
    # Created at start-up, not on first use: a rate needs the zero before the first error.
    seconds, errors = metrics.store_seconds.labels(operation), metrics.store_errors.labels(operation)

    async def measured(*arguments: Any, **named: Any) -> Any:
        began = perf_counter()
        try:
            return await method(*arguments, **named)
        except JanError as error:
            # A missing or already existing object is an answer, not a failure of the store.
            if status_of(type(error)) >= 500:
                errors.inc()
            raise
        finally:
            seconds.observe(perf_counter() - began)

    return measured
