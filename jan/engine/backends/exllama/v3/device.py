"""Open ExLlamaV3 on the GPUs."""

from jan.engine.backends.exllama.common.device import Gpus
from jan.engine.refusals import reason_of
from jan.errors import ConfigurationError


class CudaDevice(Gpus):
    """All CUDA devices that this process sees."""

    engine = "exllamav3"

    def open(self) -> str:
        """Import the library. The first import on a machine compiles its extension, which takes minutes."""
        try:
            import exllamav3  # noqa: F401
        except (ImportError, OSError, RuntimeError) as error:
            raise ConfigurationError(
                f"ExLlamaV3's extension can't be loaded or compiled (CUDA_HOME, nvcc?): {reason_of(error)}."
            ) from error
        # The library has its own kernels and never imports flash-attn.
        return "exllamav3"
