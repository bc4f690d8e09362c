"""Import the classes that a configuration file names.

A name means a module beside the file that has it, else an installed one. Names in our default file always mean
ours.
"""

import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from jan.errors import ConfigurationError
from jan.routing.moved import new_name, warn_of_name
from jan.schema.suggest import did_you_mean
from jan.settings.beside import is_beside, private_package, without_private
from jan.settings.names import DottedName

_SHIPPED = "handlers"
_ROOT = Path(__file__).resolve().parents[2]
# Where our package is kept in sys.modules while another one has its name.
_SHELF = "jan_shipped:"
# sys.modules is changed in several steps.
_LOCK = threading.RLock()


class CannotImport(ConfigurationError):
    """A dotted name leads to nothing. The message is a sentence; its reader knows where the name stands."""


def import_class(name: DottedName) -> Any:
    """Return what a dotted name stands for. Raises CannotImport."""
    if name.target is not None:
        return name.target
    if not name.rpartition(".")[0]:
        raise CannotImport(f"Can't import '{name}': It has no dot; {_allowed(name)}.")
    module_name, _, attribute = _importable(name).rpartition(".")
    with _LOCK, _shipped_handlers():
        try:
            module = import_module(module_name)
        except Exception as error:  # whatever the module of somebody else raises
            raise CannotImport(f"Can't import '{name}': {_reason(error)}; {_allowed(name)}.") from error
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        classes = [key for key, value in vars(module).items() if _is_own_class(value, module)]
        there = ", ".join(classes) or "none"
        place = name.rpartition(".")[0]
        raise CannotImport(
            f"Can't import '{name}': '{place}' has no '{attribute}'; allowed: {there}."
            f"{did_you_mean(attribute, classes)}"
        ) from error


def _importable(name: DottedName) -> str:
    """Return the name by which Python knows what a dotted name stands for."""
    folder = None if name.file is None or name.file == _ROOT / "conf" / "jan.yaml" else name.file.parent
    if folder is not None and is_beside(folder, name.rpartition(".")[0]):
        return f"{private_package(folder)}.{name}"
    new = new_name(name)
    if new is None:
        return name
    file, line = "the environment", 0
    if name.file is not None and (file := str(name.file)) and name.file.is_file():
        lines = name.file.read_text(encoding="utf-8").splitlines()
        line = next((number for number, text in enumerate(lines, 1) if name in text), 0)
    warn_of_name(name, new, file, line, globals().setdefault("__warningregistry__", {}))
    return new


def _reason(error: Exception) -> str:
    """Say in one line why a module could not be imported, and where that was if it was in the module."""
    text = " ".join(without_private(str(error)).split())
    if isinstance(error, ImportError):
        return text
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = "" if isinstance(error, SyntaxError) else f" ({Path(last.filename).name}, line {last.lineno})"
    return f"{type(error).__name__}: {text}{where}"


def _allowed(name: DottedName) -> str:
    beside = "" if name.file is None else f"a module beside {name.file} or of "
    return f"allowed: module.Class, of {beside}an installed package"


def _is_own_class(value: Any, module: ModuleType) -> bool:
    return isinstance(value, type) and value.__module__ == module.__name__


@contextmanager
def _shipped_handlers() -> Iterator[None]:
    """Within, ``handlers`` is the package that comes with Jan, whatever else was imported by this name before."""
    theirs: dict[str, ModuleType] = {}
    if not _is_shipped(sys.modules.get(_SHIPPED)):
        theirs = _take(_SHIPPED)
        sys.modules.update({key.removeprefix(_SHELF): module for key, module in _take(_SHELF + _SHIPPED).items()})
        if _SHIPPED not in sys.modules:
            _import_shipped()
    try:
        yield
    finally:
        if theirs:
            sys.modules.update({_SHELF + key: module for key, module in _take(_SHIPPED).items()})
            sys.modules.update(theirs)


def _is_shipped(module: ModuleType | None) -> bool:
    file = module and module.__file__  # a folder without __init__.py has none
    return bool(file) and Path(str(file)).resolve() == _ROOT / _SHIPPED / "__init__.py"


def _take(package: str) -> dict[str, ModuleType]:
    """Take a package and its modules out of sys.modules."""
    names = [name for name in sys.modules if name == package or name.startswith(f"{package}.")]
    return {name: sys.modules.pop(name) for name in names}


def _import_shipped() -> None:
    folder = _ROOT / _SHIPPED
    spec = spec_from_file_location(_SHIPPED, folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[_SHIPPED] = module
    spec.loader.exec_module(module)
