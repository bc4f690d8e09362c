"""The GPUs that a model runs on."""

from typing import Protocol

import torch

from jan.errors import ConfigurationError


class Device(Protocol):
    """Where the model runs."""

    def check(self) -> None:
        """Raises ConfigurationError where the model can't run at all."""
        ...

    def open(self) -> str:
        """Load the library; returns whose attention it uses. Raises ConfigurationError if it can't be."""
        ...

    def free_bytes(self) -> list[int]:
        """Free memory of each GPU."""
        ...

    def empty_cache(self) -> None:
        """Give freed memory back to the driver."""
        ...


class Gpus:
    """All CUDA devices that this process sees; what opening the library means is the engine's own."""

    engine = ""

    def check(self) -> None:
        """Raises ConfigurationError without one."""
        if torch.cuda.is_available():
            return
        why = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        raise ConfigurationError(
            f"the {self.engine} engine needs an NVIDIA GPU, and this machine shows none "
            f"(PyTorch {torch.__version__}, {why}); the llamacpp engine runs without"
        )

    def free_bytes(self) -> list[int]:
        """Free memory of each GPU."""
        return [torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())]

    def empty_cache(self) -> None:
        """Give freed memory back to the driver."""
        torch.cuda.empty_cache()
