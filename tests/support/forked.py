"""``python -m jan`` in processes of their own, forked from one that has imported it already.

Importing takes three quarters of a server's start, and the tests start hundreds. What is forked is a process like
any other from there on: its own signals, threads, files, environment and exit.
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

_PRELOADED = (
    "jan.application",
    "jan.cli.admin",
    "jan.cli.commands",
    "jan.engine.backends.echo",
    "jan.engine.prompts.chat_template",
    "jan.storage.mongo.store",
    "jan.storage.sqlite.store",
    "jan.telemetry.logs",
    "tornado.platform.asyncio",
)
# Variables of the interpreter, the linker, the C library, and of what is imported before the fork.
_READ_AT_START = ("PYTHON", "LD_", "MALLOC_", "GLIBC_", "LANG", "LC_", "TZ", "NO_COLOR", "FORCE_COLOR")
# The most bytes of a message; an order has the environment in it.
_LONGEST = 2**17


class ForkedProcess:
    """A child of the process that forks; used like a ``subprocess.Popen`` of text."""

    def __init__(self, arguments: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> None:
        self.args = ["python", "-m", "jan", *arguments]
        (read_out, write_out), (read_err, write_err) = os.pipe(), os.pipe()
        self.stdout, self.stderr = os.fdopen(read_out), os.fdopen(read_err)
        order = {"arguments": list(arguments), "cwd": str(cwd), "environ": dict(environ)}
        try:
            self.pid, self._parent = _fork_parent().fork(order, [write_out, write_err])
        finally:
            os.close(write_out)
            os.close(write_err)

    def poll(self) -> int | None:
        """Exit code, or minus the signal that ended it; None while it runs."""
        return self._parent.code(self.pid, 0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the process and return its exit code. Raises TimeoutExpired after ``timeout`` seconds."""
        code = self._parent.code(self.pid, timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process at once."""
        self.send_signal(signal.SIGKILL)


class _ForkParent:
    """The process that forks, seen from the tests. If they die, it ends with all its children."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**_started_with(), "PYTHONUNBUFFERED": "1"},
            )
        self._connection = ours
        self._changed = threading.Condition()
        self._forked: list[int] = []
        self._codes: dict[int, int] = {}
        self._ended = False
        self._ordering = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def fork(self, order: Mapping[str, Any], files: list[int]) -> "tuple[int, _ForkParent]":
        """Start a process; returns its id."""
        with self._ordering, self._changed:
            socket.send_fds(self._connection, [json.dumps(order).encode()], files)
            assert self._changed.wait_for(lambda: self._forked or self._ended, 60), "nothing was forked"
            return self._forked.pop(), self

    def code(self, pid: int, timeout: float | None) -> int | None:
        """Return the exit code of a process; None if it has not ended within ``timeout`` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: pid in self._codes or self._ended, timeout)
            return self._codes.get(pid)

    def end(self) -> None:
        """End it, and what it forked, and wait for that."""
        self._connection.shutdown(socket.SHUT_RDWR)
        self._process.wait(60)
        self._connection.close()

    def _read(self) -> None:
        while message := self._connection.recv(_LONGEST):
            news = json.loads(message)
            with self._changed:
                if "code" in news:
                    self._codes[news["pid"]] = news["code"]
                else:
                    self._codes.pop(news["pid"], None)
                    self._forked.append(news["pid"])
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


@cache
def _started_with() -> Mapping[str, str]:
    """The variables of the process that forks; those that a test changes later do not reach it."""
    return dict(os.environ)


@cache
def _fork_parent() -> _ForkParent:
    return _ForkParent()


def end_fork_parent() -> None:
    """End the process that forks, if there is one."""
    if _fork_parent.cache_info().currsize:
        _fork_parent().end()
        _fork_parent.cache_clear()


def can_fork(environ: Mapping[str, str]) -> bool:
    """Tell whether a forked process is like one that starts with these variables: those that are read by then must
    be as they are here."""
    before = _started_with()
    changed = {name for name in {*environ, *before} if environ.get(name) != before.get(name)}
    return not any(name.startswith(_READ_AT_START) for name in changed - {"PYTHONUNBUFFERED"})


def _serve_orders(connection: socket.socket) -> dict[str, Any] | None:
    """Fork as ordered until there are no more orders; returns the order in the child, None in the parent."""
    wake, woken = socket.socketpair()
    for end in (wake, woken):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: set[int] = set()
    while True:
        ready, _, _ = select.select([connection, woken], [], [])
        if woken in ready:
            woken.recv(_LONGEST)
            _tell_ends(connection, children)
        if connection in ready:
            message, files, _, _ = socket.recv_fds(connection, _LONGEST, 2)
            if not message:
                for pid in children:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                return None
            if not (pid := os.fork()):
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for end in (wake, woken, connection):
                    end.close()
                for file, number in zip(files, (1, 2), strict=True):
                    os.dup2(file, number)
                    os.close(file)
                order: dict[str, Any] = json.loads(message)
                return order
            children.add(pid)
            for file in files:
                os.close(file)
            connection.send(json.dumps({"pid": pid}).encode())


def _tell_ends(connection: socket.socket, children: set[int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        children.discard(pid)
        code = os.waitstatus_to_exitcode(status)
        connection.send(json.dumps({"pid": pid, "code": code}).encode())


def _describe_default_routes() -> None:
    """Import the handlers, and have the libraries look at their types: half of a server's start."""
    from jan.routing.openapi import build_document
    from jan.routing.table import resolve_routes
    from jan.settings.load import default_config_file, load_settings

    settings = load_settings(default_config_file(), {})
    build_document(resolve_routes(settings.routes, settings.server.api_prefixes))


def main() -> None:
    """Import, fork, and be ``python -m jan`` in the child."""
    sys.path.remove(str(Path(__file__).parent))
    for name in _PRELOADED:
        import_module(name)
    _describe_default_routes()
    gc.collect()
    gc.freeze()
    order = _serve_orders(socket.socket(fileno=int(sys.argv[1])))
    if order is None:
        return
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environ"])
    sys.path.insert(0, order["cwd"])
    sys.argv[1:] = order["arguments"]
    code = None
    try:
        runpy.run_module("jan", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if not isinstance(code := end.code, int | None):
            raise
    _end_with(code or 0)


def _end_with(code: int) -> NoReturn:
    """Wait for threads, run what was registered for the exit, and end. What the interpreter does after that is
    to take apart, object by object, what was imported before the fork: half of a process's time."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
