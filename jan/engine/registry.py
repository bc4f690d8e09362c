"""Engines by kind, made lazily: importing this imports no model library."""

from collections.abc import Callable
from importlib import import_module
from types import MappingProxyType
from typing import Any

import msgspec

from jan.engine.base import Backend, Engine
from jan.engine.rules import EngineRules
from jan.engine.runtime.executor import ThreadedEngine
from jan.errors import ConfigurationError
from jan.schema.explain import explain

# kind -> module, backend class, options type, the extra that installs it
_KINDS = MappingProxyType(
    {
        "echo": ("jan.engine.backends.echo", "EchoBackend", "EchoOptions", ""),
        "llamacpp": ("jan.engine.backends.llamacpp", "LlamaCppBackend", "LlamaCppOptions", "cpu"),
        "exllamav2": ("jan.engine.backends.exllama.v2", "ExLlamaV2Backend", "ExLlamaV2Options", "gpu"),
        "exllamav3": ("jan.engine.backends.exllama.v3", "ExLlamaV3Backend", "ExLlamaV3Options", "gpu3"),
    }
)


def create_engine(
    name: str, kind: str, options: dict[str, Any], rules: EngineRules, on_exit: Callable[[], None]
) -> Engine:
    """An engine that is not started yet; ``on_exit`` is called if it fails and its rules say so. Raises
    ConfigurationError for an unknown kind, a library that is not installed, or wrong options; the message begins
    with the option's path."""
    make_backend = _load_backend(kind, options)
    make_backend()  # it checks its options when it is made
    return ThreadedEngine(name, make_backend, rules, on_exit)


def _load_backend(kind: str, options: dict[str, Any]) -> Callable[[], Backend]:
    if kind not in _KINDS:
        raise ConfigurationError(f"engine: unknown engine '{kind}'; allowed: {', '.join(_KINDS)}")
    module_name, backend_name, options_name, extra = _KINDS[kind]
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise ConfigurationError(
            f"engine: '{kind}' needs a library that is not installed ({error.name}): "
            f"pip install 'jan-server[{extra}]'"
        ) from error
    options_type = getattr(module, options_name)
    try:
        chosen = msgspec.convert(options, options_type, strict=False)
    except msgspec.ValidationError as error:
        why = explain(error, options_type)
        raise ConfigurationError(f"options.{why.path}: {why.message}") from error
    make: Callable[[Any], Backend] = getattr(module, backend_name)
    return lambda: make(chosen)
