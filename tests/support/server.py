"""Real servers in processes of their own, and a client that checks what must hold for every answer."""

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from support.forked import ForkedProcess, can_fork
from support.patience import code_of, kill, otherwise

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_CONFIG = ROOT / "conf" / "jan.yaml"
MODEL = "jan-v1-4b"
# Of the examples. Here it is an echo model.
EMBEDDER = "all-minilm-l6-v2"

ECHO_CONFIG = f"""
extends: {DEFAULT_CONFIG}
log: {{format: json}}
server: {{grace_seconds: 5, keepalive_seconds: 0.2}}
models:
  - {{id: echo, aliases: [{MODEL}], engine: echo}}
  - {{id: slow, engine: echo, options: {{step_seconds: 0.02, slots: 4}}}}
  - {{id: {EMBEDDER}, engine: echo, options: {{dimensions: 16}}}}
"""

# Tests of other things send more requests than one caller may.
UNLIMITED = {f"JAN__LIMITS__{name}": "off" for name in ("AUTHENTICATED", "ANONYMOUS", "INFERENCE")}
# A server that is not ready after that is killed: its test fails with its log, and does not wait for ever.
_START_SECONDS = 120
_TOLD_LINES = 40
_JAN = ("-m", "jan")
# Ollama's errors are flat.
_OLLAMA = ("/api/chat", "/api/generate", "/api/embed", "/api/show", "/api/tags", "/api/ps", "/api/version")
_KEY = re.compile(r"Key\s+(/.+)")
_READY = re.compile(r"API\s+(https?://\S+)/api/v1")


class ServerProcess:
    """``jan serve`` in a process of its own, on a free port of 127.0.0.1; with rate limits only if asked for.

    Without ``forked`` the process imports everything itself: for tests that count what its collector finds.
    """

    def __init__(
        self,
        config: Path,
        *arguments: str,
        environ: dict[str, str] | None = None,
        program: tuple[str, ...] = _JAN,
        limits: bool = False,
        forked: bool = True,
    ) -> None:
        self._process = start_jan(
            ["serve", "--config", str(config), "--port", "0", *arguments],
            config.parent,
            {**os.environ, "PYTHONUNBUFFERED": "1", **({} if limits else UNLIMITED), **(environ or {})},
            program,
            forked,
        )
        self.log: list[dict[str, Any]] = []
        self.stderr: list[str] = []
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        #: What it printed so far.
        self.banner = ""
        try:
            self._print_on("Try it")
            found = _READY.search(self.banner)
            assert found is not None, self.banner
        except BaseException:
            self.kill_if_running()
            raise
        self.url = found[1]
        #: The administrator's key, which a first start makes; '' if this start was not the first.
        self.admin_key = self._key()

    def _key(self) -> str:
        found = _KEY.search(self.banner)
        return Path(found[1]).read_text().strip() if found else ""

    def late_key(self) -> str:
        """The administrator's key of a first start whose store was not there at once; it is made later."""
        if not self.admin_key:
            self._print_on("Key")
            self.admin_key = self._key()
        return self.admin_key

    def _print_on(self, word: str) -> None:
        """Read what it prints up to the line that has this word."""
        assert self._process.stdout is not None
        with otherwise(self._process.kill, _START_SECONDS):
            for line in self._process.stdout:
                self.banner += line
                if word in line:
                    return
        code = self.wait()
        raise AssertionError(f"server ended with {code} before it printed '{word}': {''.join(self.stderr)}")

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.stderr.append(line)
            if line.startswith("{") and line.endswith("\n"):  # else it was killed in the middle of the line
                self.log.append(json.loads(line))

    def fill_in(self, sample: str) -> str:
        """A sample as the reference prints it, with this server's address. Its placeholder for a token stays:
        the default configuration admits callers who have none."""
        return sample.replace("http://localhost:8080", self.url)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def errors(self) -> list[dict[str, Any]]:
        """Log lines of level error and worse: none is expected of a healthy server."""
        return [entry for entry in self.log if entry.get("level") in ("error", "critical")]

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self, timeout: float = 30) -> int:
        """Its exit code; one that does not end is killed, and its test fails with what it logged last."""
        code = code_of(self._process, timeout)
        self._reader.join(5)
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()
        if code is None:
            raise AssertionError(f"the server does not end: {''.join(self.stderr[-_TOLD_LINES:])}")
        return code

    def stop(self) -> int:
        """Send SIGTERM and wait for the end."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill_if_running(self) -> None:
        if self.running:
            kill(self._process)
        self.wait()


def start_jan(
    arguments: Sequence[str],
    cwd: Path,
    environ: Mapping[str, str],
    program: tuple[str, ...] = _JAN,
    forked: bool = True,
) -> "subprocess.Popen[str] | ForkedProcess":
    """Start ``python -m jan``, or another program that takes the same arguments."""
    if forked and program == _JAN and can_fork(environ):
        return ForkedProcess(arguments, cwd, environ)
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        cwd=cwd,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def check_invariants(response: httpx.Response) -> None:
    """Check what holds for every answer: a request id, a content type, and the envelope on errors. No cache keeps
    it, unless it is a file that is the same for everybody."""
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", response.headers["x-request-id"])
    if response.status_code != 200 or not response.url.path.startswith("/api/swagger/"):
        assert "no-store" in response.headers["cache-control"]
    if response.status_code >= 400 and response.request.method != "HEAD":
        assert response.headers["content-type"] == "application/json"
        response.read()
        body = response.json()
        error = body["error"]
        if response.url.path.startswith(_OLLAMA) and isinstance(error, str):
            assert set(body) == {"error", "code", "param"}
            error = {**body, "message": error, "type": "flat"}
        else:
            assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        assert error["type"]
        assert isinstance(error["code"], str)
        assert error["param"] is None or isinstance(error["param"], str)


def http_client(server: ServerProcess, **options: Any) -> httpx.Client:
    """A client of a server that checks the invariants on every answer."""
    options.setdefault("verify", tls())
    return httpx.Client(
        base_url=server.url, timeout=60, event_hooks={"response": [check_invariants]}, trust_env=False, **options
    )


@cache
def tls() -> ssl.SSLContext:
    """Load the trusted authorities once. By default each client reads a file of them, which takes 15 ms."""
    return httpx.create_ssl_context()
