"""The settings of the ExLlamaV2 engine."""

from typing import Literal

import msgspec

from jan.engine.backends.exllama.common.options import ExLlamaOptions

# Attention kernels. auto: flash-attn if usable, else Triton; flash: flash-attn or fail; triton: ours.
AttentionOption = Literal["auto", "flash", "triton"]


class LoraOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A LoRA adapter that is loaded with the model. ``scale``: factor of its weights."""

    folder: str
    scale: float = 1.0


class ExLlamaV2Options(ExLlamaOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the ExLlamaV2 engine.

    ``loras``: adapters that are loaded with the model. ``attention``: the attention kernels; ``auto`` takes
    flash-attn if it is installed and usable, else our own Triton kernels.
    """

    loras: tuple[LoraOptions, ...] = ()
    attention: AttentionOption = "auto"
