"""A line between a client and a server that a test can break."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress


class BreakableLine:
    """Passes bytes on between its own port of 127.0.0.1 and a server's."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._server_port = port
        self._open: list[socket.socket] = []
        #: The port of the line.
        self.port: int = self._listener.getsockname()[1]
        #: How many connections were made through it.
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def break_off(self) -> None:
        """End every connection in its middle. New ones are passed on."""
        while self._open:
            with suppress(OSError), self._open.pop() as end:
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.break_off()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._server_port))
            self.connections += 1
            self._open += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    @staticmethod
    def _pass_on(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)


@contextmanager
def breakable_line(port: int) -> Iterator[BreakableLine]:
    """Such a line to a server."""
    with closing(BreakableLine(port)) as line:
        yield line
