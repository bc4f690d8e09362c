"""The settings of the ExLlamaV3 engine."""

from jan.engine.backends.exllama.common.options import ExLlamaOptions


class ExLlamaV3Options(ExLlamaOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the ExLlamaV3 engine: the shared ones. The library has no public way to load LoRA adapters."""
