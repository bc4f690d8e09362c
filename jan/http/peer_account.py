"""Finds the account of the program at the other end of a connection on this machine.

Linux tells it by its socket diagnostics (sock_diag(7)), which need no rights. Elsewhere, and where a sandbox
forbids them, nothing is known.
"""

import os
import socket
import struct
import sys

# NETLINK_SOCK_DIAG, and the types of its messages.
_FAMILY, _BY_FAMILY = 4, 20
_NUMBERS = 1 << 32
# struct nlmsghdr; struct inet_diag_req_v2 up to the ports, and behind the addresses.
_HEADER = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBBxI")
_PORTS = struct.Struct(">HH")
_ANY_SOCKET = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
_ADDRESS_BYTES = 16
_ANY_STATE = 0xFFFFFFFF
# Where struct inet_diag_msg has the account, behind the header.
_UID = struct.Struct("=I")
_UID_AT = _HEADER.size + 4 + 48 + 12
# Accounts of services: those that packages make, those that systemd makes (systemd.io/UIDS-GIDS), and nobody.
_SERVICES = (range(1, 1000), range(61184, 65520), range(65534, 65535))


class PeerAccounts:
    """Tells the account at the other end of a connection. Asks by one socket, which ``close`` closes."""

    def __init__(self) -> None:
        self._kernel: socket.socket | None = None
        self._questions = 0

    def is_service(self, connection: socket.socket) -> bool:
        """Return True if the other end belongs to a service's account that is not this server's own.

        Proxies that come with the system run as such: nginx as www-data, HAProxy and Caddy under their names.
        """
        account = self.account_of(connection)
        return account is not None and account != os.geteuid() and any(account in some for some in _SERVICES)

    def account_of(self, connection: socket.socket) -> int | None:
        """Return the numeric user id of the program at the other end of a TCP connection; None if it is not
        known."""
        if sys.platform != "linux":
            return None
        try:
            (peer, peer_port), (own, own_port) = connection.getpeername()[:2], connection.getsockname()[:2]
            family = socket.AF_INET6 if ":" in peer else socket.AF_INET
            ends = [socket.inet_pton(family, host).ljust(_ADDRESS_BYTES, b"\0") for host in (peer, own)]
            question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, _ANY_STATE)
            return self._ask(question + _PORTS.pack(peer_port, own_port) + b"".join(ends) + _ANY_SOCKET)
        except (OSError, ValueError, struct.error):
            self.close()
            return None

    def _ask(self, question: bytes) -> int | None:
        """Ask the kernel about one socket. Raises OSError."""
        kernel = self._kernel = self._kernel or _open()
        number = self._questions = (self._questions + 1) % _NUMBERS
        kernel.send(_HEADER.pack(_HEADER.size + len(question), _BY_FAMILY, 1, number, 0) + question)
        answer = kernel.recv(4096)
        _, kind, _, answered, _ = _HEADER.unpack_from(answer)
        if answered != number:
            raise OSError("This answers another question.")
        return _UID.unpack_from(answer, _UID_AT)[0] if kind == _BY_FAMILY else None

    def close(self) -> None:
        """Close the socket. The next question opens a new one."""
        if self._kernel is not None:
            self._kernel.close()
            self._kernel = None


def _open() -> socket.socket:
    """Return a socket for questions to the kernel, which answers before the question's ``send`` returns."""
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _FAMILY)
    kernel.connect((0, 0))
    return kernel
