"""The MongoDB-protocol server that the Mongo backend is tested against.

It is SecantusDB (WiredTiger, MongoDB's wire protocol). It is GPL, so it lives in a virtual environment of its
own and is only ever another process.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.install import NotInstalled, alone, run_installer
from support.patience import code_of, until
from support.ports import free_port, listens

if TYPE_CHECKING:
    import pymongo

SECANTUS = "SecantusDB==0.7.0b3"
OPTIONS = "directConnection=true&retryWrites=false&journal=true&serverMonitoringMode=poll"


def install_secantus(cache: Path) -> Path:
    """The server's executable, installed once into a cache directory."""
    with alone(cache, SECANTUS.replace("==", "-")) as home:
        executable = home / "bin" / "secantusd-py"
        if not executable.exists():
            shutil.rmtree(home, ignore_errors=True)
            try:
                run_installer([sys.executable, "-m", "venv", str(home)])
                run_installer([str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", SECANTUS])
            except NotInstalled as problem:
                shutil.rmtree(home, ignore_errors=True)
                stop = pytest.fail if os.environ.get("CI") else pytest.skip
                stop(f"can't install {SECANTUS}: {problem}")
    return executable


class SecantusServer:
    """A server process on a free port of 127.0.0.1, durable across ``kill`` and ``start``."""

    def __init__(self, executable: Path, directory: Path) -> None:
        self._executable = executable
        self._directory = directory
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        """Where a database of this server is."""
        return f"mongodb://127.0.0.1:{self._port}/{database}?{OPTIONS}"

    def start(self) -> None:
        """Start the process and wait until it accepts connections."""
        arguments = ["--host", "127.0.0.1", "--port", str(self._port), "--sync-on-commit"]
        arguments += ["--cache-size", "1G", "--storage-path", str(self._directory / "data")]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SECANTUS_")}
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._executable, *arguments], stdout=log, stderr=log, cwd=self._directory, env=environment
            )
        process = self._process
        try:
            until(lambda: process.poll() is not None or listens(process.pid, self._port))
            if not listens(process.pid, self._port):
                pytest.fail(f"SecantusDB did not start:\n{(self._directory / 'log').read_text()[-2000:]}")
        except BaseException:
            self.stop(signal.SIGKILL)
            raise

    def stop(self, sig: int = signal.SIGTERM) -> None:
        """End the process; SIGKILL gives it no chance to write anything."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(sig)
        code_of(process, 20)

    def pause(self, sig: int) -> None:
        """Send SIGSTOP or SIGCONT: a server that is there and does not answer."""
        assert self._process is not None
        self._process.send_signal(sig)


def mongo_client(url: str, **options: Any) -> "pymongo.MongoClient[dict[str, Any]]":
    """A client that gives up on a server that does not answer."""
    import pymongo

    return pymongo.MongoClient(url, timeoutMS=60_000, **options)
