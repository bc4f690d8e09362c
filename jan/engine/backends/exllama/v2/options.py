"""What a configuration may say about the ExLlamaV2 engine."""

from typing import Literal

import msgspec

from jan.engine.backends.exllama.common.options import ExLlamaOptions

# Whose attention: flash-attn's if it is there and of use, flash-attn's or none, our own Triton kernels.
AttentionOption = Literal["auto", "flash", "triton"]


class LoraOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A LoRA adapter that is part of the model from its start: ``folder`` and how strongly it counts."""

    folder: str
    scale: float = 1.0


class ExLlamaV2Options(ExLlamaOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``loras``: adapters. ``attention``: whose kernels compute it;
    ``auto`` takes flash-attn's where that package is installed and of use, else our own."""

    loras: tuple[LoraOptions, ...] = ()
    attention: AttentionOption = "auto"
