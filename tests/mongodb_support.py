"""The MongoDB-protocol server that the Mongo backend is tested against.

It is SecantusDB (WiredTiger, MongoDB's wire protocol). It is GPL, so it lives in a virtual environment of its
own and is only ever another process.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
import venv
from pathlib import Path

import pytest
from install_support import alone
from ports import free_port

SECANTUS = "SecantusDB==0.7.0b3"
OPTIONS = "directConnection=true&retryWrites=false&journal=true&serverMonitoringMode=poll"


def install_secantus(cache: Path) -> Path:
    """The server's executable, installed once into a cache directory."""
    with alone(cache, SECANTUS.replace("==", "-")) as home:
        executable = home / "bin" / "secantusd-py"
        if not executable.exists():
            shutil.rmtree(home, ignore_errors=True)
            venv.create(home, with_pip=True)
            command = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", SECANTUS]
            installed = subprocess.run(command, capture_output=True, text=True)
            if installed.returncode:
                shutil.rmtree(home, ignore_errors=True)
                stop = pytest.fail if os.environ.get("CI") else pytest.skip
                stop(f"can't install {SECANTUS}: {installed.stderr[-500:]}")
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
        arguments += ["--cache-size", "256M", "--storage-path", str(self._directory / "data")]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SECANTUS_")}
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._executable, *arguments], stdout=log, stderr=log, cwd=self._directory, env=environment
            )
        deadline = time.monotonic() + 60
        while not self._accepts():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"SecantusDB did not start:\n{(self._directory / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self, sig: int = signal.SIGTERM) -> None:
        """End the process; SIGKILL gives it no chance to write anything."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(sig)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def pause(self, sig: int) -> None:
        """Send SIGSTOP or SIGCONT: a server that is there and does not answer."""
        assert self._process is not None
        self._process.send_signal(sig)

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0
