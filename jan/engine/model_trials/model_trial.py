"""The plan of a trial of a model's files, made by the backends that have one."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec

# For a large vocabulary it takes about two seconds.
_CPU_SECONDS = 30.0
_MEMORY_BYTES = 2 << 30


class ModelTrial(msgspec.Struct, frozen=True, kw_only=True):
    """A trial of a model's files in a child process.

    ``call``: the function that tries, as ``module:name``. It gets ``arguments`` and raises ConfigurationError for
    a model that must not be loaded. It must not need what a trial can't have: a GPU, or memory for weights.
    ``files``: files and folders of the model. If they were pulled, they must be as they were then.
    ``named``: the model in messages, such as "Model file x.gguf".
    ``mapped_bytes``: size of the files that the library maps into its address space.
    ``cpu_seconds``, ``memory_bytes``: the limits. Memory is counted as address space, beyond what the child has
    before the trial.
    """

    call: str
    arguments: dict[str, Any]
    named: str
    files: tuple[str, ...] = ()
    mapped_bytes: int = 0
    cpu_seconds: float = _CPU_SECONDS
    memory_bytes: int = _MEMORY_BYTES


@runtime_checkable
class TriedBackend(Protocol):
    """A backend whose model is tried before ``load`` is called."""

    def trial(self) -> ModelTrial | None:
        """Return the trial; None if the model needs none."""


def mapped_bytes(*files: Path) -> int:
    """Return the size of files together, 0 for those that can't be read."""
    return sum(file.stat().st_size for file in files if file.is_file())
