"""Find the class of an engine by its name: one of ours, or a dotted name. Importing this loads no library."""

from importlib import import_module
from types import MappingProxyType
from typing import Any

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


def class_of(kind: DottedName) -> Any:
    """Return the class of an engine. Raises ConfigurationError if it can't be imported."""
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


def arguments_of(found: Any, options: dict[str, Any]) -> tuple[Any, ...]:
    """Return what the class is made with: its options, decoded; nothing if it has no type for them."""
    kind = getattr(found, "Options", None)
    if kind is None:
        if options:
            raise ConfigurationError(f"options: {found.__name__} takes none.")
        return ()
    return (convert_options(options, kind),)
