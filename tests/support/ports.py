"""Ports for servers that are told where to listen, or that are stopped and come back at the same place."""

import os
import random
import socket
from contextlib import suppress
from pathlib import Path

# Below the ports that Linux gives to whoever connects: from those, a client could take a server's port while it is
# stopped, even by connecting to it, since a connection from a port to itself succeeds.
_PORTS = range(12_000, 32_000)
# A socket's state, as /proc/net/tcp writes it.
_LISTENING = "0A"


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on and that no client gets."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


def listens(pid: int, port: int) -> bool:
    """Return True if this very process has the port of 127.0.0.1, and not another that was there first."""
    with suppress(OSError):  # it has ended
        rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
        sockets = {
            f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == _LISTENING
        }
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                if os.readlink(file) in sockets:
                    return True
    return False
