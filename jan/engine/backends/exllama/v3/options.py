"""What a configuration may say about the ExLlamaV3 engine."""

from jan.engine.backends.exllama.common.options import ExLlamaOptions


class ExLlamaV3Options(ExLlamaOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing beside what both engines take; the library has no public way to load a LoRA adapter."""
