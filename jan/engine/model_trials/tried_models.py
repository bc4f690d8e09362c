"""The server's side of trials of models: one child process, which tries one model after another."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec
import structlog

from jan.children.child_environment import bare_environment
from jan.engine.model_trials.model_trial import ModelTrial, TriedBackend
from jan.engine.model_trials.model_trial_child import ModelVerdict
from jan.engine.model_trials.pulled_files import check_pulled
from jan.errors import ConfigurationError

log = structlog.get_logger(__name__)

# The real limit is on CPU time. This is for a machine that gives the process none, or a disk that does not answer.
_SECONDS = 600.0
_CODE = "from jan.engine.model_trials.model_trial_child import main; main()"
# Bytes of what a library wrote last before it ended the process.
_SAID = 400


class ModelTrials:
    """Tries models before they are loaded. Thread-safe; it tries one model at a time.

    Usage::

        trials = ModelTrials()
        trials.admit(backend)  # on the thread that loads; raises ConfigurationError
        trials.rest()
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._child: _Child | None = None
        self._expected: list[str] = []

    def expect(self, backend: object) -> None:
        """Note that a backend's model will be tried at the start."""
        if isinstance(backend, TriedBackend) and (trial := backend.trial()) is not None:
            self._expected.append(trial.call.partition(":")[0])

    def begin(self) -> None:
        """Start the process for the models that are expected, so that it is ready when they come."""
        with self._turn:
            if self._expected and self._child is None:
                self._child = _Child(self._expected)

    def admit(self, backend: object) -> None:
        """Wait until a backend's model has been tried, if it has a trial.

        Raises ConfigurationError that says why the model must not be loaded.
        """
        trial = backend.trial() if isinstance(backend, TriedBackend) else None
        if trial is None:
            return
        began = time.monotonic()
        check_pulled(map(Path, trial.files))
        with self._turn:
            refusal = self._refusal(trial)
        if refusal:
            raise ConfigurationError(refusal)
        log.debug("model tried", named=trial.named, seconds=round(time.monotonic() - began, 2))

    def rest(self) -> None:
        """End the process until the next model comes, also if it is at work."""
        if (child := self._child) is not None:
            child.kill()
        with self._turn:
            if self._child is not None:
                self._child.end()
                self._child = None

    def _refusal(self, trial: ModelTrial) -> str:
        if self._child is not None:
            # It may have ended while it was idle. Only a new process tells what a model does to it.
            verdict = self._child.ask(trial)
            if verdict is not None:
                return verdict.refusal
            self._child.end()
        self._child = child = _Child()
        verdict = child.ask(trial)
        if verdict is not None:
            return verdict.refusal
        self._child = None
        return child.end_of(trial)


class _Child:
    """One process. It ends by itself when it is idle for some seconds, or when the server ends.

    ``modules``: those that it imports first.
    """

    def __init__(self, modules: Iterable[str] = ()) -> None:
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end
        self._timed_out = False
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _CODE, *dict.fromkeys(modules)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                # llama.cpp would start a debugger to print where it aborts.
                env=bare_environment(OPENBLAS_NUM_THREADS="1", GGML_NO_BACKTRACE="1"),
                start_new_session=True,
            )
        except OSError as error:
            self._said.close()
            raise ConfigurationError(f"The process that tries models can't be started: {error}.") from error
        # So that one that ended while idle does not stay in the table of processes.
        threading.Thread(target=self._process.wait, name="model-trial", daemon=True).start()

    def ask(self, trial: ModelTrial) -> ModelVerdict | None:
        """Return the verdict, None if the process ended."""
        assert self._process.stdin is not None  # it is a pipe
        assert self._process.stdout is not None
        self._said.truncate(0)
        late = threading.Timer(_SECONDS, self._time_out)
        late.daemon = True
        late.start()
        try:
            self._process.stdin.write(msgspec.json.encode(trial) + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = b""
        finally:
            late.cancel()
        return msgspec.json.decode(line, type=ModelVerdict) if line.endswith(b"\n") else None

    def _time_out(self) -> None:
        self._timed_out = True
        self.kill()

    def kill(self) -> None:
        """Kill the process at once. Any thread may call it."""
        self._process.kill()

    def end(self) -> int:
        """End the process if it has not ended, and free its pipes; returns its exit code."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                assert pipe is not None  # both are pipes
                pipe.close()
        code = self._process.wait()
        self._said.close()
        return code

    def end_of(self, trial: ModelTrial) -> str:
        """Return the sentence about a trial that ended the process."""
        self._process.wait()
        said = self._last_words()
        code = self.end()
        if code == -signal.SIGPROF:
            why = f"reading it takes more than {trial.cpu_seconds:g} s of computing"
        elif self._timed_out:
            why = f"reading it took more than {_SECONDS:g} s"
        elif code < 0:
            why = f"it ends the library that reads it, by {signal.Signals(-code).name}{said}"
        else:
            why = f"it ends the process that tries it, with code {code}{said}"
        return f"{trial.named} can't be loaded: {why}."

    def _last_words(self) -> str:
        """Return the last line that a library wrote, to be part of a sentence."""
        size = self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, size - _SAID))
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return f" ({' '.join(lines[-1].split()).rstrip('.')})" if lines else ""
