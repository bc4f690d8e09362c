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
_ANSWER_SECONDS = 1.0
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


def is_service(connection: socket.socket) -> bool:
    """Return True if the other end belongs to a service's account that is not this server's own.

    Proxies that come with the system run as such: nginx as www-data, HAProxy and Caddy under their names.
    """
    account = account_of(connection)
    return account is not None and account != os.geteuid() and any(account in some for some in _SERVICES)


def account_of(connection: socket.socket) -> int | None:
    """Return the numeric user id of the program at the other end of a TCP connection; None if it is not known."""
    if sys.platform != "linux":
        return None
    try:
        (peer, peer_port), (own, own_port) = connection.getpeername()[:2], connection.getsockname()[:2]
        ends = [socket.inet_pton(connection.family, host).ljust(_ADDRESS_BYTES, b"\0") for host in (peer, own)]
        question = _QUESTION.pack(connection.family, socket.IPPROTO_TCP, 0, _ANY_STATE)
        return _ask(question + _PORTS.pack(peer_port, own_port) + b"".join(ends) + _ANY_SOCKET)
    except (OSError, ValueError, struct.error):
        return None


def _ask(question: bytes) -> int | None:
    """Ask the kernel about one socket. Raises OSError."""
    message = _HEADER.pack(_HEADER.size + len(question), _BY_FAMILY, 1, 1, 0) + question
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _FAMILY) as kernel:
        kernel.settimeout(_ANSWER_SECONDS)
        kernel.sendto(message, (0, 0))
        answer = kernel.recv(4096)
    _, kind, *_ = _HEADER.unpack_from(answer)
    return _UID.unpack_from(answer, _UID_AT)[0] if kind == _BY_FAMILY else None
