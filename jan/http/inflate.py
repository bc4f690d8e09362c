"""Inflates compressed bodies while they arrive, and never more of them than a limit."""

import zlib

# The header says whether it is gzip (RFC 1952) or zlib (RFC 1950), which HTTP calls deflate.
_EITHER_HEADER = 32 + zlib.MAX_WBITS
#: The content codings that are inflated (RFC 9110 8.4.1).
CODINGS = ("gzip", "x-gzip", "deflate")


class BrokenCompression(Exception):
    """The data are not compressed as announced."""


class Inflater:
    """Inflates one body of at most ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        self._left = limit + 1
        self._inflate = zlib.decompressobj(_EITHER_HEADER)

    def add(self, chunk: bytes) -> bytes:
        """Return what a chunk inflates to: one byte more than the limit in all at most.

        Raises BrokenCompression.
        """
        inflated = bytearray()
        while chunk and self._left:
            if self._inflate.eof:  # gzip may have several members (RFC 1952 2.2)
                self._inflate = zlib.decompressobj(_EITHER_HEADER)
            try:
                piece = self._inflate.decompress(chunk, self._left)
            except zlib.error:  # its own words are a number and a part of its code
                raise BrokenCompression("a part of it is neither gzip nor zlib, or is damaged") from None
            inflated += piece
            self._left -= len(piece)
            chunk = self._inflate.unused_data or self._inflate.unconsumed_tail
        return bytes(inflated)

    def complete(self) -> None:
        """Check that the data have ended where they say. Raises BrokenCompression."""
        if self._left and not self._inflate.eof:
            raise BrokenCompression("it ends too early")
