"""Opening ExLlamaV2 on the GPUs."""

import sys
from typing import Literal

import structlog

from jan.engine.backends.exllama.common.device import Gpus
from jan.engine.backends.exllama.v2 import attention, flash
from jan.engine.backends.exllama.v2.options import AttentionOption
from jan.errors import ConfigurationError

log = structlog.get_logger(__name__)


class CudaDevice(Gpus):
    """All CUDA devices that this process sees. ``chosen``: whose attention is wanted."""

    engine = "exllamav2"

    def __init__(self, chosen: AttentionOption = "auto") -> None:
        self._chosen = chosen

    def open(self) -> str:
        """Import the library, which compiles its extension on its first import: minutes, once a machine."""
        used = attention_of(self._chosen)
        # What stood there comes back: others ask for flash_attn too, and would take the stand-in for all of it.
        displaced = attention.install(sys.modules) if used == "triton" else None
        try:
            import exllamav2  # noqa: F401
        except (ImportError, OSError, RuntimeError) as error:
            raise ConfigurationError(
                f"ExLlamaV2's extension can't be loaded or compiled (CUDA_HOME, nvcc?): {error}"
            ) from error
        finally:
            if displaced is not None:
                attention.remove(sys.modules, displaced)
        return used


def attention_of(chosen: AttentionOption) -> Literal["flash-attn", "triton"]:
    """Whose attention it is to be. Raises ConfigurationError where flash-attn is demanded and is of no use; where
    it is only preferred, our own kernels do instead, and the log says why."""
    if chosen == "triton":
        return "triton"
    problem = flash.problem()
    if problem is None:
        return "flash-attn"
    if chosen == "flash":
        raise ConfigurationError(f"attention is 'flash', and {problem}")
    if flash.installed():
        log.warning("flash-attn is not used; Triton kernels are", reason=problem)
    return "triton"
