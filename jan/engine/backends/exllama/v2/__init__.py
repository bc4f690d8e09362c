"""The ExLlamaV2 engine, for EXL2, GPTQ and fp16 folders on NVIDIA GPUs.

``backend`` runs steps, ``device`` opens the library, ``loading`` loads weights, ``generation`` samples,
``salting`` keeps owners' caches apart, ``attention`` stands in for flash-attn. The rest is shared with ExLlamaV3,
in ``jan.engine.backends.exllama.common``.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if find_spec("exllamav2") is None:
    # Only looked for, because its first import compiles for minutes and needs a GPU.
    raise ModuleNotFoundError("No module named 'exllamav2'", name="exllamav2")

if TYPE_CHECKING:
    from jan.engine.backends.exllama.v2.backend import ExLlamaV2Backend
    from jan.engine.backends.exllama.v2.options import ExLlamaV2Options

__all__ = ["ExLlamaV2Backend", "ExLlamaV2Options"]


def __getattr__(name: str) -> Any:
    # Importing the front imports neither the library nor PyTorch.
    if name == "ExLlamaV2Backend":
        from jan.engine.backends.exllama.v2.backend import ExLlamaV2Backend

        return ExLlamaV2Backend
    if name == "ExLlamaV2Options":
        from jan.engine.backends.exllama.v2.options import ExLlamaV2Options

        return ExLlamaV2Options
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
