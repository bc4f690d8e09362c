"""Web frameworks that stream the same frames."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jan.bench.peers import PROGRAMS, Peer, clean_environment
from jan.bench.processes import ServerUnderTest, free_port, serving

FASTAPI = Peer(
    "FastAPI + uvicorn",
    ("fastapi==0.165.0", "starlette==1.10.0", "uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0"),
    "fastapi_server.py",
)
AIOHTTP = Peer("aiohttp", ("aiohttp==3.14.5",), "aiohttp_server.py")


@contextmanager
def framework_server(peer: Peer, template: Path, folder: Path, cache: Path) -> Iterator[ServerUnderTest]:
    """Run the peer's program; ``template`` is a file with the JSON of one chunk, which it varies."""
    port = free_port()
    command = [str(peer.python(cache)), str(PROGRAMS / peer.program), str(port), str(template)]
    with serving(peer.name, command, port, folder, environ=clean_environment()) as server:
        yield server
