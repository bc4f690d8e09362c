"""The limits that our server is compared with: the least code that can send the same bytes."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from jan.bench.processes import ServerUnderTest, free_port, own_environment, own_program, serving
from jan.bench.recording import Recording

BARE = "bare asyncio"
HANDLER = "bare handler"


@contextmanager
def bare_server(
    recording: Recording, folder: Path, *, name: str = BARE, module: str = "jan.bench.bare"
) -> Iterator[ServerUnderTest]:
    """Run one of the modules that send a recording, for the time of the block."""
    port = free_port()
    file = folder / f"recording-{port}.json"
    recording.save(file)
    command = own_program(module, str(port), str(file))
    with serving(name, command, port, folder, environ=own_environment()) as server:
        yield server


def bare_handler(recording: Recording, folder: Path) -> AbstractContextManager[ServerUnderTest]:
    """Run a Tornado handler that sends the recorded whole answer and does nothing else."""
    return bare_server(recording, folder, name=HANDLER, module="jan.bench.bare_handler")
