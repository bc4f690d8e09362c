"""Messages on the pipe of a child process: each after its length."""

#: Bytes of the length.
HEADER = 4


def framed(message: bytes) -> bytes:
    """Return a message as it goes through a pipe."""
    return len(message).to_bytes(HEADER, "big") + message
