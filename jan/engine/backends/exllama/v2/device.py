"""The GPUs for ExLlamaV2: import the library with the attention kernels that it is to use."""

import sys
from typing import Literal

import structlog

from jan.engine.backends.exllama.common.device import Gpus
from jan.engine.backends.exllama.v2 import attention, flash
from jan.engine.backends.exllama.v2.options import AttentionOption
from jan.engine.refusals import reason_of
from jan.errors import ConfigurationError

log = structlog.get_logger(__name__)


class CudaDevice(Gpus):
    """All CUDA devices that this process sees. ``chosen``: the attention kernels."""

    engine = "exllamav2"

    def __init__(self, chosen: AttentionOption = "auto") -> None:
        self._chosen = chosen

    def open(self) -> str:
        """Import the library. The first import on a machine compiles its extension, which takes minutes."""
        used = attention_of(self._chosen)
        # The stand-in for flash-attn is removed after the import. Other libraries would take it for the real one.
        displaced = attention.install(sys.modules) if used == "triton" else None
        try:
            import exllamav2  # noqa: F401  # compiles and loads the extension
        except (ImportError, OSError, RuntimeError) as error:
            raise ConfigurationError(
                f"ExLlamaV2's extension can't be loaded or compiled (CUDA_HOME, nvcc?): {reason_of(error)}."
            ) from error
        finally:
            if displaced is not None:
                attention.remove(sys.modules, displaced)
        return used


def attention_of(chosen: AttentionOption) -> Literal["flash-attn", "triton"]:
    """Return the attention kernels to use.

    With ``auto``, our own kernels replace a flash-attn that is installed but not usable, and the log says why.

    Raises:
        ConfigurationError: if ``flash`` is chosen and flash-attn is not usable.
    """
    if chosen == "triton":
        return "triton"
    problem = flash.problem()
    if problem is None:
        return "flash-attn"
    if chosen == "flash":
        raise ConfigurationError(f"Option attention is 'flash', and {problem}.")
    if flash.installed():
        log.warning("flash-attn is not used; Triton kernels are", reason=problem)
    return "triton"
