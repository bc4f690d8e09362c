"""Find the class of an engine by its name: one of ours, or a dotted name. Importing this loads no library."""

from importlib import import_module
from types import MappingProxyType
from typing import Any

from jan.errors import ConfigurationError
from jan.settings.mistakes import convert_options
from jan.settings.names import DottedName, reason_of_unknown
from jan.settings.plugins import CannotImport, import_class

# name -> package, its front's and its backend's class with their modules, the extra that installs its library
_KINDS = MappingProxyType(
    {
        "echo": ("jan.engine.backends", "echo.EchoBackend", "echo.EchoBackend", ""),
        "llamacpp": (
            "jan.engine.backends.llamacpp",
            "model_front.LlamaCppFront",
            "backend.LlamaCppBackend",
            "cpu",
        ),
        "exllamav2": (
            "jan.engine.backends.exllama.v2",
            "model_front.ExLlamaV2Front",
            "backend.ExLlamaV2Backend",
            "gpu",
        ),
        "exllamav3": (
            "jan.engine.backends.exllama.v3",
            "model_front.ExLlamaV3Front",
            "backend.ExLlamaV3Backend",
            "gpu3",
        ),
    }
)


def class_of(kind: DottedName, *, front: bool = False) -> Any:
    """Return the class of an engine. Raises ConfigurationError if it can't be imported.

    ``front``: the class that checks options and files, and has the trial; it needs no library. A class of others
    is its own front.
    """
    if (reason := reason_of_unknown(kind)) is not None:
        raise ConfigurationError(f"engine: {reason}")
    if kind not in _KINDS:
        try:
            return import_class(kind)
        except CannotImport as error:
            raise ConfigurationError(f"engine: {error.message}") from error
    package, front_class, backend_class, extra = _KINDS[kind]
    module, name = (front_class if front else backend_class).split(".")
    try:
        return getattr(import_module(f"{package}.{module}"), name)
    except ImportError as error:
        raise ConfigurationError(
            f"engine: '{kind}' needs a library that is not installed ({error.name}): "
            f"pip install 'jan-server[{extra}]'."
        ) from error


def arguments_of(found: Any, options: dict[str, Any]) -> tuple[Any, ...]:
    """Return what the class is made with: its options, decoded; nothing if it has no type for them."""
    kind = getattr(found, "Options", None)
    if kind is None:
        if options:
            raise ConfigurationError(f"options: {found.__name__} takes none.")
        return ()
    return (convert_options(options, kind),)
