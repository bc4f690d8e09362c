"""The GPUs that a model runs on, and opening a library on them."""

from typing import Protocol

import torch

from jan.errors import ConfigurationError


class Device(Protocol):
    """The place where a model runs: real GPUs, or a stand-in in tests."""

    def check(self) -> None:
        """Raise ConfigurationError if no model can run here."""
        ...

    def open(self) -> str:
        """Import the library; returns the name of the attention kernels it uses. Raises ConfigurationError."""
        ...

    def free_bytes(self) -> list[int]:
        """Return the free memory of each GPU, in bytes."""
        ...

    def empty_cache(self) -> None:
        """Give freed memory back to the driver."""
        ...


class Gpus:
    """All CUDA devices that this process sees. Each engine adds ``open``."""

    engine = ""

    def check(self) -> None:
        """Raise ConfigurationError if there is no GPU."""
        if torch.cuda.is_available():
            return
        build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        raise ConfigurationError(
            f"The {self.engine} engine needs an NVIDIA GPU, and this machine shows none "
            f"(PyTorch {torch.__version__}, {build}). The llamacpp engine runs without one."
        )

    def free_bytes(self) -> list[int]:
        """Return the free memory of each GPU, in bytes."""
        return [torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())]

    def empty_cache(self) -> None:
        """Give freed memory back to the driver."""
        torch.cuda.empty_cache()
