"""Backends that a process imports by name, and that end it."""

import os
import signal
import sys

from jan.engine.backends.echo import EchoBackend, EchoOptions
from jan.engine.base import ModelInfo, OnProgress


class TalkativeBackend(EchoBackend):
    """A backend that says something and ends its process while it loads."""

    def __init__(self, options: EchoOptions) -> None:
        super().__init__(options)

    def load(self, progress: OnProgress) -> ModelInfo:
        print("one line\ncuda: out of everything", file=sys.stderr, flush=True)
        print("to standard output", flush=True)
        os.kill(os.getpid(), signal.SIGABRT)
        return super().load(progress)
