"""The llama.cpp engine (GGUF models): ``backend`` drives, ``model`` loads, ``sampler`` picks."""

import os

# Read when OpenMP's library is loaded. Its threads spin by default while they wait for one another; as soon
# as anything else wants a core, they starve each other (measured on two busy cores: 2 instead of 50 tokens/s).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from jan.engine.llamacpp.backend import LlamaCppBackend, LlamaCppOptions

__all__ = ["LlamaCppBackend", "LlamaCppOptions"]
