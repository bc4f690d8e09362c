"""HTTP byte by byte: what a well-behaved client library would never send, and exactly what comes back."""

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import msgspec


class RawResponse(msgspec.Struct):
    """A response as it came; ``body`` still has its transfer encoding."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def connect(url: str, timeout: float = 30) -> socket.socket:
    """A connection to a server."""
    where = urlsplit(url)
    return socket.create_connection((where.hostname, where.port), timeout=timeout)


def exchange(url: str, data: bytes) -> bytes:
    """Send bytes, read until the server closes; a server that closes before it read everything is fine."""
    received = b""
    with connect(url) as connection:
        try:
            connection.sendall(data)
            while piece := connection.recv(65536):
                received += piece
        except (ConnectionResetError, BrokenPipeError):
            pass
    return received


def parse(received: bytes) -> RawResponse:
    """Take the (last) response of a closed connection apart."""
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return RawResponse(int(first.split(" ")[1]), headers, body)


def request(method: str, target: str, *headers: str, body: bytes = b"", version: str = "HTTP/1.1") -> bytes:
    """A request that ends its connection; headers as whole lines."""
    lines = [f"{method} {target} {version}", "Host: localhost", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
