"""Stand-ins for what vLLM and SGLang import beside their parsers of answers: PyTorch, kernels, sockets.

The parsers compute with text only, so that none of this is ever called by them.
"""

import importlib.machinery
import sys
import types
from importlib.abc import Loader, MetaPathFinder
from pathlib import Path
from typing import Any, ClassVar

# Libraries that are not installed, and the parts of vLLM that need a device or a model.
REPLACED = (
    *("torch", "xgrammar", "zmq", "uvloop", "cpuinfo", "cloudpickle", "pybase64", "prometheus_client", "IPython"),
    *("vllm.config", "vllm.distributed", "vllm.lora", "vllm.model_executor", "vllm.multimodal", "vllm.platforms"),
)
# Packages whose own `__init__` would load an engine. Their modules are the real ones.
BARE = ("vllm", "sglang", "sglang.srt")


class _AnyClass(type):
    """A class with any attribute, in place of enumerations and the like."""

    def __getattr__(cls, name: str) -> "type[Anything]":
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything

    def __or__(cls, other: object) -> Any:
        return cls

    __ror__ = __getitem__ = __or__

    def __iter__(cls) -> Any:
        return iter(())


class Anything(metaclass=_AnyClass):
    """A class or decorator that accepts all and does nothing."""

    def __init__(self, *args: object, **options: object) -> None:
        pass

    def __init_subclass__(cls, **options: object) -> None:
        pass

    def __call__(self, *args: Any, **options: object) -> Any:
        return args[0] if len(args) == 1 and callable(args[0]) else Anything()

    def __getattr__(self, name: str) -> "Anything":
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()

    def __bool__(self) -> bool:
        return False

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:
        from pydantic_core import core_schema

        return core_schema.any_schema()


class _Module(types.ModuleType):
    """A module that has every name."""

    __path__: ClassVar[list[str]] = []
    __version__ = "0"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Anything,), {"__module__": self.__name__})


class _Finder(MetaPathFinder, Loader):
    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        if any(f"{name}.".startswith(f"{replaced}.") for replaced in REPLACED):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def stand_in(packages: Path) -> None:
    """Let the parsers of vLLM and SGLang be imported from a folder of packages."""
    sys.path.insert(0, str(packages))
    sys.meta_path.insert(0, _Finder())
    for name in BARE:
        module = types.ModuleType(name)
        module.__path__ = [str(packages.joinpath(*name.split(".")))]
        module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        sys.modules[name] = module
