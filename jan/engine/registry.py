"""Make an engine by its name: one of ours, or a class by its dotted name. Importing this imports no model
library."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jan.engine.base import Backend, ChoosingBackend, Engine
from jan.engine.engine_kinds import arguments_of, class_of
from jan.engine.isolation.engine_messages import BackendPlan
from jan.engine.isolation.process_engine import ProcessEngine
from jan.engine.model_trials.tried_models import ModelTrials
from jan.engine.rules import EngineRules
from jan.engine.runtime.executor import ThreadedEngine
from jan.errors import ConfigurationError
from jan.settings.models import Isolation
from jan.settings.names import ENGINES, DottedName

# Windows has no sockets that another process inherits.
_PROCESSES = os.name == "posix"


class Surroundings(NamedTuple):
    """Parts of a server that its engines use. ``trials``: tries models before they are loaded. ``sockets``: the
    folder of the sockets of processes; None: temporary ones."""

    trials: ModelTrials
    sockets: Path | None


def create_engine(
    name: str,
    kind: DottedName,
    options: dict[str, Any],
    rules: EngineRules,
    on_exit: Callable[[], None],
    isolation: Isolation | None = None,
    around: Surroundings | None = None,
) -> Engine:
    """Make an engine that is not started yet. ``on_exit`` is called if it fails and its rules say so.

    ``isolation``: None is what the class declares by an attribute of this name, else a thread.
    ``kind`` is a name of ours, or that of a class: a Backend, which runs on a thread or in a process of ours, or
    an Engine, which runs on the event loop. Raises ConfigurationError for an unknown kind, a library that is not
    installed, or wrong options. Its message begins with the path in the model's settings.
    """
    found = class_of(kind, front=True)
    arguments = arguments_of(found, options)
    around = around or Surroundings(ModelTrials(), None)
    isolation = isolation or (getattr(found, "isolation", "thread") if _PROCESSES else "thread")
    if isolation == "process" and not _PROCESSES:
        raise ConfigurationError("isolation: This system has no Unix sockets for processes; allowed: thread.")
    if isolation == "thread":
        found = class_of(kind)
    elif kind in ENGINES or not _missing(found, Backend):
        first = _FirstMade(lambda: found(*arguments), around.trials)
        first.check_machine()
        return ProcessEngine(name, _plan_of(kind, options), around.sockets, first.admit, rules, on_exit)
    if not _missing(found, Backend):
        return ThreadedEngine(name, _FirstMade(lambda: found(*arguments), around.trials), rules, on_exit)
    if not _missing(found, Engine):
        if isolation == "process":
            raise ConfigurationError(
                f"isolation: '{kind}' is an Engine, which runs on the event loop; allowed: thread."
            )
        engine: Engine = found(*arguments)
        return engine
    lacks = " or ".join(f"{', '.join(_missing(found, one))} of {one.__name__}" for one in (Backend, Engine))
    raise ConfigurationError(f"engine: '{kind}' is no engine. It lacks {lacks} (jan.engine.base).")


def _plan_of(kind: DottedName, options: dict[str, Any]) -> BackendPlan:
    """Return how a process makes a backend. Raises ConfigurationError if no other process can import it."""
    if "<locals>" in kind or kind.startswith("__main__."):
        raise ConfigurationError(f"isolation: A process can't import '{kind}'; allowed for this class: thread.")
    return BackendPlan(kind=str(kind), file=None if kind.file is None else str(kind.file), options=options)


@runtime_checkable
class PickyFront(Protocol):
    """A front whose engine does not run on every machine."""

    def check_machine(self) -> None:
        """Raise ConfigurationError if it does not run on this one. No library is imported for that."""
        ...


class _FirstMade:
    """Makes backends, whose models have been tried. The first is made at once, because that is how a backend
    checks its options, and is the one that runs; others are made after a failure."""

    def __init__(self, make: Callable[[], Backend], trials: ModelTrials) -> None:
        self._make = make
        self._trials = trials
        self._first: Backend | None = make()
        trials.expect(self._first)

    def check_machine(self) -> None:
        """Raise ConfigurationError if the machine lacks what the process of the model needs."""
        if isinstance(self._first, PickyFront):
            self._first.check_machine()

    def __call__(self) -> Backend:
        backend = self.admit()
        return backend.for_model() if isinstance(backend, ChoosingBackend) else backend

    def admit(self) -> Backend:
        """Have the model tried, on any thread but the loop's. Raises ConfigurationError if it is refused."""
        first, self._first = self._first, None
        backend = first or self._make()
        self._trials.admit(backend)
        return backend


def _missing(found: Any, contract: type) -> list[str]:
    """Return the methods of a contract that a class lacks."""
    methods = [name for name, value in vars(contract).items() if not name.startswith("_") and callable(value)]
    return [name for name in methods if not hasattr(found, name)]
