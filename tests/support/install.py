"""Things that tests install once, in a cache that several runs may share at the same time."""

import fcntl
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO

# The openai npm package asks for 22 and runs on 20 as well.
OLDEST_NODE = 20
# Twice as long for one installation, which whoever waits for it outlasts; all of that is less than a test's time.
_INSTALL_SECONDS = 120
_LOCK_SECONDS = 270


class NotInstalled(Exception):
    """The output of the installer."""


@contextmanager
def alone(cache: Path, name: str) -> Iterator[Path]:
    """A folder of the cache, while no other process installs it. The lock ends with the process that holds it."""
    with (cache / f".{name}.lock").open("w") as lock:
        deadline = time.monotonic() + _LOCK_SECONDS
        while not _locked(lock):
            assert time.monotonic() < deadline, f"another process has been installing {name} for too long"
            time.sleep(0.1)
        yield cache / name


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def run_installer(command: Sequence[str], folder: Path | None = None, seconds: float = _INSTALL_SECONDS) -> None:
    """Install something, at the second attempt if the first one fails or hangs: what it loads from may be away for
    a moment."""
    problem = ""
    for _ in range(2):
        # In a file, which nobody waits for the end of: an installer that is killed may leave children.
        with TemporaryFile() as output:
            try:
                subprocess.run(command, cwd=folder, stdout=output, stderr=output, check=True, timeout=seconds)
                return
            except subprocess.SubprocessError as error:
                output.seek(0)
                problem = f"{error}: {output.read()[-1000:].decode(errors='replace')}"
    raise NotInstalled(problem)


def fill_once(cache: Path, name: str, *command: str, seconds: float = _INSTALL_SECONDS) -> Path:
    """A folder of the cache, filled by a command that runs in it, unless an earlier run has."""
    with alone(cache, name) as folder:
        if not folder.exists():
            # Under its own name only when complete, so that an interrupted run leaves nothing half done.
            with TemporaryDirectory(dir=cache) as temporary:
                made = Path(temporary) / "made"
                made.mkdir()
                run_installer(command, made, seconds)
                made.rename(folder)
    return folder


def node_problem() -> str | None:
    """Why the JavaScript SDK can't be run here; None if it can."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return "node and npm are not both on PATH, so the JavaScript SDK can't be run"
    version = subprocess.run(
        [node, "--version"], capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        return f"the JavaScript SDK does not run on node {version}; it needs {OLDEST_NODE} or newer"
    return None
