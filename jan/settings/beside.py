"""Import modules beside a configuration file, by path and under names of their own.

So a ``handlers.py`` of yours and our package ``handlers`` go together in one process, and two folders may each
have a ``greetings.py``. Within such a module, the import of a module beside the same file means that one.
"""

import builtins
import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import blake2b
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

_PREFIX = "jan_plugin_"
_PRIVATE = re.compile(rf"{_PREFIX}[0-9a-f]+\.")
_CORE = Path(__file__).resolve().parents[2]


def is_beside(folder: Path, module: str) -> bool:
    """Return whether a dotted name is that of a module or package in a folder. Python's own modules, and ours, are
    never taken from there."""
    parts = module.split(".")
    if parts[0] == "jan" or parts[0] in sys.stdlib_module_names or (folder == _CORE and parts[0] == "handlers"):
        return False
    path = folder.joinpath(*parts)
    return path.with_suffix(".py").is_file() or (path.is_dir() and any(path.glob("*.py")))


def private_package(folder: Path) -> str:
    """Return the package whose modules are those in a folder; it is made at the first call."""
    name = _PREFIX + blake2b(str(folder).encode(), digest_size=6).hexdigest()
    if name not in sys.modules:
        package = ModuleType(name, f"Modules in {folder}.")
        package.__path__ = [str(folder)]
        if not any(isinstance(finder, _BesideFinder) for finder in sys.meta_path):
            sys.meta_path.insert(0, _BesideFinder())
        sys.modules[name] = package
    return name


def without_private(text: str) -> str:
    """Return a message with modules named as their author knows them."""
    return _PRIVATE.sub("", text)


class _BesideFinder(MetaPathFinder):
    """Finds the modules of private packages where Python would, and gives them an import of their own."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module of a private package; None for all others."""
        if not fullname.startswith(_PREFIX):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _BesideLoader(fullname, spec.loader.path)
        return spec


class _BesideLoader(SourceFileLoader):
    """Runs a module with an ``import`` that looks beside it first."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module with that import."""
        package = module.__name__.partition(".")[0]
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": partial(_import, package)}
        super().exec_module(module)


def _import(
    package: str,
    name: str,
    globals_: Mapping[str, Any] | None = None,
    locals_: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """Stand for Python's ``__import__`` in a module of a private package."""
    folder = Path(sys.modules[package].__path__[0])
    if level or not is_beside(folder, name):
        return builtins.__import__(name, globals_, locals_, fromlist or (), level)
    found = builtins.__import__(f"{package}.{name}", globals_, locals_, fromlist or ())
    # As in Python: `import a.b` binds a, `from a.b import c` looks into b.
    return found if fromlist else getattr(found, name.partition(".")[0])
