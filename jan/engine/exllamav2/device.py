"""Opening ExLlamaV2 on the GPUs."""

import sys
from importlib.util import find_spec

from jan.engine.exllama.device import Gpus
from jan.engine.exllamav2 import attention
from jan.errors import ConfigurationError


class CudaDevice(Gpus):
    """All CUDA devices that this process sees."""

    engine = "exllamav2"

    def open(self) -> str:
        """Import the library, which compiles its extension on its first import: minutes, once a machine."""
        used = "flash-attn"
        if find_spec("flash_attn") is None:
            attention.install(sys.modules)
            used = "triton"
        try:
            import exllamav2  # noqa: F401
        except (ImportError, OSError, RuntimeError) as error:
            raise ConfigurationError(
                f"ExLlamaV2's extension can't be loaded or compiled (CUDA_HOME, nvcc?): {error}"
            ) from error
        finally:
            if used == "triton":
                # Others ask for flash_attn too, and would take the stand-in for the whole of it.
                attention.remove(sys.modules)
        return used
