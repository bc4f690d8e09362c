"""The ExLlamaV3 engine, for EXL3 and unquantised folders on NVIDIA GPUs.

``backend`` runs steps, ``device`` opens the library, ``loading`` loads weights, ``generation`` samples,
``salting`` keeps owners' caches apart. The rest is shared with ExLlamaV2, in
``jan.engine.backends.exllama.common``.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if find_spec("exllamav3") is None:
    # Only looked for, because its first import compiles for minutes and needs a GPU.
    raise ModuleNotFoundError("No module named 'exllamav3'", name="exllamav3")

if TYPE_CHECKING:
    from jan.engine.backends.exllama.v3.backend import ExLlamaV3Backend
    from jan.engine.backends.exllama.v3.options import ExLlamaV3Options

__all__ = ["ExLlamaV3Backend", "ExLlamaV3Options"]


def __getattr__(name: str) -> Any:
    # Importing the front imports neither the library nor PyTorch.
    if name == "ExLlamaV3Backend":
        from jan.engine.backends.exllama.v3.backend import ExLlamaV3Backend

        return ExLlamaV3Backend
    if name == "ExLlamaV3Options":
        from jan.engine.backends.exllama.v3.options import ExLlamaV3Options

        return ExLlamaV3Options
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
