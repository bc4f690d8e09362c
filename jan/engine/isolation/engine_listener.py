"""The socket of an engine's process. It belongs to the parent, so its path and its secret outlive the process."""

import os
import secrets
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from jan.engine.isolation.engine_messages import EngineAddress
from jan.errors import ConfigurationError

# Bytes of a path, with its zero byte, on the system that allows the least.
_LONGEST_PATH = 104
_NAME = "engine-{}.sock"
_BACKLOG = 128
# A socket of a server that starts at the same time is not listened on yet.
_NEW_SECONDS = 10.0


class EngineListener:
    """A listening Unix socket that only this user reaches, in a folder that only this user enters: the given
    one, or a temporary one if there is none or its path is too long.

    Usage::

        listener = EngineListener(folder)
        start_process(pass_fds=[listener.fileno()])
        connect(listener.address)
        listener.close()
    """

    def __init__(self, folder: Path | None) -> None:
        self._made: Path | None = None
        name = _NAME.format(secrets.token_hex(4))
        if folder is None or len(os.fsencode(folder.resolve() / name)) >= _LONGEST_PATH:
            folder = self._made = Path(tempfile.mkdtemp(prefix="jan-"))
        folder = folder.resolve()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            remove_stale(folder)
            self._path = folder / name
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.bind(str(self._path))
            self._path.chmod(0o600)
            self._socket.listen(_BACKLOG)
            self._socket.setblocking(False)
        except OSError as error:
            raise ConfigurationError(f"The socket of an engine can't be made in {folder}: {error}.") from error
        self.address = EngineAddress(str(self._path), secrets.token_bytes(32))

    def fileno(self) -> int:
        """Return the file descriptor, for the process that accepts connections."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket and remove its file."""
        self._socket.close()
        self._path.unlink(missing_ok=True)
        if self._made is not None:
            with suppress(OSError):
                self._made.rmdir()


def remove_stale(folder: Path) -> None:
    """Remove the sockets of servers that were killed: those that nobody listens on, and that are not just made."""
    for path in folder.glob(_NAME.format("*")):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime < _NEW_SECONDS:
                continue
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
            except OSError:
                pass  # a full backlog is a living server's
