"""The llama.cpp engine for GGUF models: ``backend`` runs steps, ``model`` loads, ``sampler`` picks tokens."""

import os
from typing import TYPE_CHECKING, Any

# OpenMP's library reads this when it is loaded: how long its threads spin while they wait for each other. By
# default they spin almost for ever, so they starve each other as soon as something else needs a core. Not spinning
# at all costs two thirds of the speed. Measured on two cores, one stream, tokens/s idle / busy: default 122 / 2,
# no spinning 40 / 54, this value 106 / 22.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

if TYPE_CHECKING:
    from jan.engine.backends.llamacpp.backend import LlamaCppBackend
    from jan.engine.backends.llamacpp.options import LlamaCppOptions

__all__ = ["LlamaCppBackend", "LlamaCppOptions"]


def __getattr__(name: str) -> Any:
    # Importing the front imports no library.
    if name == "LlamaCppBackend":
        from jan.engine.backends.llamacpp.backend import LlamaCppBackend

        return LlamaCppBackend
    if name == "LlamaCppOptions":
        from jan.engine.backends.llamacpp.options import LlamaCppOptions

        return LlamaCppOptions
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
