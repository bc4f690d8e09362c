"""A model that takes its time to load, for tests."""

import time
from pathlib import Path
from typing import Annotated

import msgspec

from jan.engine.backends.echo import EchoBackend, EchoOptions
from jan.engine.base import ModelInfo, OnProgress

_PATIENCE_SECONDS = 120.0


class SlowLoadingOptions(EchoOptions, frozen=True, kw_only=True):
    """``gate``: a file. Until it is there, a quarter of the model is loaded."""

    gate: Annotated[str, msgspec.Meta(min_length=1)]


class SlowLoadingBackend(EchoBackend):
    """The echo engine, loaded when a test says so."""

    Options = SlowLoadingOptions

    def __init__(self, options: SlowLoadingOptions) -> None:
        super().__init__(options)
        self._gate = Path(options.gate)

    def load(self, progress: OnProgress) -> ModelInfo:
        """Load a quarter, wait for the file, then load the rest."""
        progress(0.25)
        end = time.monotonic() + _PATIENCE_SECONDS
        while not self._gate.exists() and time.monotonic() < end:
            time.sleep(0.01)
        return super().load(progress)
