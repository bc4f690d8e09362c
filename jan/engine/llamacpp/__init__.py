"""The llama.cpp engine (GGUF models): ``backend`` drives, ``model`` loads, ``sampler`` picks."""

from jan.engine.llamacpp.backend import LlamaCppBackend, LlamaCppOptions

__all__ = ["LlamaCppBackend", "LlamaCppOptions"]
