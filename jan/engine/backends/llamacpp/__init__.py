"""The llama.cpp engine (GGUF models): ``backend`` drives, ``model`` loads, ``sampler`` picks."""

import os

# Read when OpenMP's library is loaded: how long its threads spin while they wait for one another. By default
# almost for ever, so that as soon as anything else wants a core they starve each other; not at all costs two
# thirds of the speed. Measured on two cores, one stream, tokens/s idle / busy: default 122 / 2, none 40 / 54,
# this 106 / 22.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from jan.engine.backends.llamacpp.backend import LlamaCppBackend, LlamaCppOptions

__all__ = ["LlamaCppBackend", "LlamaCppOptions"]
