"""The child process that tries models: it calls each trial's function, under limits of CPU time and memory."""

import importlib
import os
import resource
import select
import signal
import sys
import threading
from pathlib import Path
from typing import BinaryIO

import msgspec

from jan.engine.model_trials.model_trial import ModelTrial
from jan.engine.refusals import reason_of
from jan.errors import ConfigurationError

# The next model of a configuration comes at once. The process costs memory as long as it waits.
_IDLE_SECONDS = 5.0


class ModelVerdict(msgspec.Struct, frozen=True):
    """The result of a trial; ``refusal``: why the model must not be loaded, '' if it may."""

    refusal: str = ""


def main() -> None:
    """Try what standard input asks for, a line of JSON each, until it ends or nothing comes for a while."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Libraries write to standard output whenever they like: for them it is standard error.
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # On a thread as in the server, because its stack may be smaller.
    thread = threading.Thread(target=_serve, args=(sys.stdin.buffer, sink))
    thread.start()
    thread.join()


def _serve(source: BinaryIO, sink: BinaryIO) -> None:
    # What the first trial needs, while the server does something else.
    for module in sys.argv[1:]:
        importlib.import_module(module)
    while select.select([source], [], [], _IDLE_SECONDS)[0] and (line := source.readline()):
        verdict = _verdict(msgspec.json.decode(line, type=ModelTrial))
        sink.write(msgspec.json.encode(verdict) + b"\n")
        sink.flush()


def _verdict(trial: ModelTrial) -> ModelVerdict:
    module, _, name = trial.call.partition(":")
    function = getattr(importlib.import_module(module), name)
    _limit_memory(trial.mapped_bytes + trial.memory_bytes)
    # The signal's default action ends the process, also while a library runs no Python.
    signal.setitimer(signal.ITIMER_PROF, trial.cpu_seconds)
    try:
        function(**trial.arguments)
    except ConfigurationError as error:
        return ModelVerdict(error.message)
    except MemoryError:
        most = trial.memory_bytes >> 20
        return ModelVerdict(f"{trial.named} can't be loaded: reading it takes more than {most} MiB of memory.")
    except Exception as error:  # noqa: BLE001 - the server's refusal is the only place to report it
        return ModelVerdict(f"{trial.named} can't be read: {type(error).__name__}: {reason_of(error)}.")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        _limit_memory(None)
    return ModelVerdict()


def _limit_memory(more: int | None) -> None:
    """Allow this many bytes of address space beyond the present size; None: as many as at the start."""
    pages = Path("/proc/self/statm")
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if pages.exists():
        used = int(pages.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (hard if more is None else used + more, hard))
