"""What tests install for themselves, once, in a cache that several runs may share at a time."""

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

# The openai npm package asks for 22 and runs on 20 as well.
OLDEST_NODE = 20


@contextmanager
def alone(cache: Path, name: str) -> Iterator[Path]:
    """A folder of the cache, while no other process installs it. The lock ends with the process that holds it."""
    with (cache / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield cache / name


def fill_once(cache: Path, name: str, *command: str) -> Path:
    """A folder of the cache, filled by a command that runs in it, unless an earlier run has."""
    with alone(cache, name) as folder:
        if not folder.exists():
            # Under its own name only when complete, so that an interrupted run leaves nothing half done.
            with TemporaryDirectory(dir=cache) as temporary:
                made = Path(temporary) / "made"
                made.mkdir()
                subprocess.run(command, cwd=made, check=True)
                made.rename(folder)
    return folder


def node_problem() -> str | None:
    """Why the JavaScript SDK can't be run here; None if it can."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return "node and npm are not both on PATH, so the JavaScript SDK can't be run"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        return f"the JavaScript SDK does not run on node {version}; it needs {OLDEST_NODE} or newer"
    return None
