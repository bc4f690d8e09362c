"""The llama.cpp engine for GGUF models: ``backend`` runs steps, ``model`` loads, ``sampler`` picks tokens."""

import os

# OpenMP's library reads this when it is loaded: how long its threads spin while they wait for each other. By
# default they spin almost for ever, so they starve each other as soon as something else needs a core. Not spinning
# at all costs two thirds of the speed. Measured on two cores, one stream, tokens/s idle / busy: default 122 / 2,
# no spinning 40 / 54, this value 106 / 22.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from jan.engine.backends.llamacpp.backend import LlamaCppBackend
from jan.engine.backends.llamacpp.options import LlamaCppOptions

__all__ = ["LlamaCppBackend", "LlamaCppOptions"]
