"""What can go wrong when a library loads a folder, in our own errors."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from jan.errors import ConfigurationError


@contextmanager
def load_errors(folder: Path) -> Iterator[None]:
    """Raises ConfigurationError for what the library refuses, MemoryError if it does not fit."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's, about itself
            yield
    except torch.OutOfMemoryError as error:
        raise MemoryError(str(error)) from error
    except (RuntimeError, AssertionError, ValueError, TypeError, LookupError, AttributeError, OSError) as error:
        if isinstance(error, RuntimeError) and "VRAM" in str(error):
            raise MemoryError(str(error)) from error
        told = " ".join(str(error).split())  # the libraries' own go over several lines
        raise ConfigurationError(f"model folder {folder} can't be loaded: {told}") from error
