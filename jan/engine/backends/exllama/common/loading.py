"""Load weights, cache and generator: the steps that both libraries share, and their errors as ours."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from jan.engine.backends.exllama.common.folder import ModelFolder
from jan.engine.base import OnProgress
from jan.engine.refusals import reason_of
from jan.errors import ConfigurationError

#: Spare entries in lists by token id: output layers are padded, by fewer columns than this.
OUTPUT_PADDING = 256


class LoadedGenerator(ABC):
    """Weights and cache on their devices, and the library's ``generator`` over them."""

    def __init__(self, cache_tokens: int) -> None:
        self._cache_tokens = cache_tokens
        self._models: list[Any] = []
        self.generator: Any = None

    def load(self, folder: ModelFolder, draft: ModelFolder | None, progress: OnProgress) -> None:
        """Load the model, and the draft model for speculative decoding.

        Raises ConfigurationError if the library refuses the folder, MemoryError if the model does not fit.
        """
        share = 0.8 if draft else 1.0
        with load_errors(folder.path):
            model, cache = self._load_weights(folder, lambda done: progress(done * share))
            drafting = self._load_weights(draft, lambda done: progress(share + done * 0.2)) if draft else None
            self.generator = self._make_generator(model, cache, drafting)
            self._load_loras(model)

    @abstractmethod
    def _load_weights(self, folder: ModelFolder, progress: Callable[[float], None]) -> tuple[Any, Any]:
        """Load one model; returns the library's model, added to ``_models``, and its cache."""

    @abstractmethod
    def _make_generator(self, model: Any, cache: Any, drafting: tuple[Any, Any] | None) -> Any:
        """Make the library's generator; ``drafting``: the draft model and its cache."""

    def _load_loras(self, model: Any) -> None:  # noqa: B027  # optional
        """Load the configured LoRA adapters, if the engine has any."""

    @abstractmethod
    def forget_jobs(self) -> None:
        """Drop all jobs and the cache's contents, after a step raised and left them in an unknown state."""

    @abstractmethod
    def close(self) -> None:
        """Free threads, cache and weights."""


@contextmanager
def load_errors(folder: Path) -> Iterator[None]:
    """Raise ConfigurationError for what the library refuses, and MemoryError if the model does not fit."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about its own internals
            yield
    except torch.OutOfMemoryError as error:
        raise MemoryError(str(error)) from error
    except (RuntimeError, AssertionError, ValueError, TypeError, LookupError, AttributeError, OSError) as error:
        if isinstance(error, RuntimeError) and "VRAM" in str(error):
            raise MemoryError(str(error)) from error
        raise ConfigurationError(f"Model folder {folder} can't be loaded: {reason_of(error)}.") from error
