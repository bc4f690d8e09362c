"""Other servers, each installed in its own environment and never in ours."""

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import msgspec

from jan.bench.bench_error import BenchError

#: Folder of our programs that run only in a peer's environment.
PROGRAMS = Path(__file__).resolve().parent / "servers"
_INSTALL_SECONDS = 600.0
_STAMP = ".installed"
_REASON_LENGTH = 200


class Peer(msgspec.Struct, frozen=True):
    """Another server and how to install it.

    ``requirements``: pinned packages. ``bare``: install them without their own dependencies. ``program``: our
    program that serves with them, if it needs one.
    """

    name: str
    requirements: tuple[str, ...]
    program: str = ""
    bare: bool = False

    def environment(self, cache: Path) -> Path:
        """Return the folder of a virtual environment with the peer, made once in a cache that runs may share.

        Raises BenchError if it cannot be installed within ten minutes.
        """
        cache.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(repr((self.requirements, sys.version)).encode()).hexdigest()[:10]
        folder = (cache / f"{self.name.replace(' ', '-').replace('/', '-')}-{digest}").resolve()
        with (cache / f".{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / _STAMP).exists():
                _install(self, folder)
                (folder / _STAMP).touch()
        return folder

    def python(self, cache: Path) -> Path:
        """Return its interpreter. Raises as ``environment`` does."""
        return self.environment(cache) / "bin" / "python"


def _install(peer: Peer, folder: Path) -> None:
    options = ["--quiet", "--disable-pip-version-check", *(["--no-deps"] if peer.bare else [])]
    commands = (
        [sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)],
        [sys.executable, "-m", "pip", "--python", str(folder), "install", *options, *peer.requirements],
    )
    for command in commands:
        try:
            done = subprocess.run(
                command,
                env=clean_environment(),
                capture_output=True,
                text=True,
                timeout=_INSTALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BenchError(f"It was not installed after {_INSTALL_SECONDS / 60:.0f} minutes.") from None
        if done.returncode != 0:
            raise BenchError(f"It cannot be installed: {_reason(done.stderr)}.")


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no reason given"]
    return errors[-1][:_REASON_LENGTH]


def clean_environment(**more: str) -> dict[str, str]:
    """Return our environment without the variables that lead Python to our packages."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return {**kept, "PYTHONUNBUFFERED": "1", **more}
