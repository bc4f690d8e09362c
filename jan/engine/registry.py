"""Make an engine by its name: one of ours, or a class by its dotted name. Importing this imports no model
library."""

from collections.abc import Callable
from importlib import import_module
from types import MappingProxyType
from typing import Any

from jan.engine.base import Backend, ChoosingBackend, Engine
from jan.engine.model_trials.tried_models import ModelTrials
from jan.engine.rules import EngineRules
from jan.engine.runtime.executor import ThreadedEngine
from jan.errors import ConfigurationError
from jan.settings.mistakes import convert_options
from jan.settings.names import DottedName, reason_of_unknown
from jan.settings.plugins import CannotImport, import_class

# name -> module, backend class, the extra that installs its library
_KINDS = MappingProxyType(
    {
        "echo": ("jan.engine.backends.echo", "EchoBackend", ""),
        "llamacpp": ("jan.engine.backends.llamacpp", "LlamaCppBackend", "cpu"),
        "exllamav2": ("jan.engine.backends.exllama.v2", "ExLlamaV2Backend", "gpu"),
        "exllamav3": ("jan.engine.backends.exllama.v3", "ExLlamaV3Backend", "gpu3"),
    }
)


def create_engine(
    name: str,
    kind: DottedName,
    options: dict[str, Any],
    rules: EngineRules,
    on_exit: Callable[[], None],
    trials: ModelTrials | None = None,
) -> Engine:
    """Make an engine that is not started yet. ``on_exit`` is called if it fails and its rules say so. ``trials``:
    tries models before they are loaded.

    ``kind`` is a name of ours, or that of a class: a Backend, which runs on a thread of ours, or an Engine, which
    runs on the event loop. Raises ConfigurationError for an unknown kind, a library that is not installed, or
    wrong options. Its message begins with the path in the model's settings.
    """
    found = _class_of(kind)
    arguments = _options(found, options)
    if not _missing(found, Backend):
        return ThreadedEngine(name, _FirstMade(lambda: found(*arguments), trials or ModelTrials()), rules, on_exit)
    if not _missing(found, Engine):
        engine: Engine = found(*arguments)
        return engine
    lacks = " or ".join(f"{', '.join(_missing(found, one))} of {one.__name__}" for one in (Backend, Engine))
    raise ConfigurationError(f"engine: '{kind}' is no engine. It lacks {lacks} (jan.engine.base).")


class _FirstMade:
    """Makes backends, whose models have been tried. The first is made at once, because that is how a backend
    checks its options, and is the one that runs; others are made after a failure."""

    def __init__(self, make: Callable[[], Backend], trials: ModelTrials) -> None:
        self._make = make
        self._trials = trials
        self._first: Backend | None = make()
        trials.expect(self._first)

    def __call__(self) -> Backend:
        first, self._first = self._first, None
        backend = first or self._make()
        self._trials.admit(backend)
        return backend.for_model() if isinstance(backend, ChoosingBackend) else backend


def _class_of(kind: DottedName) -> Any:
    if (reason := reason_of_unknown(kind)) is not None:
        raise ConfigurationError(f"engine: {reason}")
    if kind not in _KINDS:
        try:
            return import_class(kind)
        except CannotImport as error:
            raise ConfigurationError(f"engine: {error.message}") from error
    module, name, extra = _KINDS[kind]
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        raise ConfigurationError(
            f"engine: '{kind}' needs a library that is not installed ({error.name}): "
            f"pip install 'jan-server[{extra}]'."
        ) from error


def _options(found: Any, options: dict[str, Any]) -> tuple[Any, ...]:
    """Return what the class is made with: its options, decoded; nothing if it has no type for them."""
    kind = getattr(found, "Options", None)
    if kind is None:
        if options:
            raise ConfigurationError(f"options: {found.__name__} takes none.")
        return ()
    return (convert_options(options, kind),)


def _missing(found: Any, contract: type) -> list[str]:
    """Return the methods of a contract that a class lacks."""
    methods = [name for name, value in vars(contract).items() if not name.startswith("_") and callable(value)]
    return [name for name in methods if not hasattr(found, name)]
