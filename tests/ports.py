"""Ports for servers that are told where to listen, or that are stopped and come back at the same place."""

import random
import socket

# Below the ports that Linux gives to whoever connects: from those, a client could take a server's port while it is
# stopped, even by connecting to it, since a connection from a port to itself succeeds.
_PORTS = range(12_000, 32_000)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on and that no client gets."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
