"""Opening ExLlamaV3 on the GPUs."""

from jan.engine.backends.exllama.common.device import Gpus
from jan.errors import ConfigurationError


class CudaDevice(Gpus):
    """All CUDA devices that this process sees."""

    engine = "exllamav3"

    def open(self) -> str:
        """Import the library, which compiles its extension on its first import: minutes, once a machine."""
        try:
            import exllamav3  # noqa: F401
        except (ImportError, OSError, RuntimeError) as error:
            raise ConfigurationError(
                f"ExLlamaV3's extension can't be loaded or compiled (CUDA_HOME, nvcc?): {error}"
            ) from error
        # The library brings its own kernels, and never asks for flash-attn.
        return "exllamav3"
