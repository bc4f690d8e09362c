"""Reads choices from the bytes that a fuzzer makes, so that one input says all that a target needs."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Given:
    """The bytes of one input, read from the left. Missing bytes are zeros."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def byte(self) -> int:
        """Take one byte."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def one_of(self, choices: Sequence[T]) -> T:
        """Take one of several choices."""
        return choices[self.byte() % len(choices)]

    def flag(self) -> bool:
        """Take true or false."""
        return bool(self.byte() & 1)

    def rest(self) -> bytes:
        """Take all that is left."""
        rest, self._at = self._data[self._at :], len(self._data)
        return rest


def cut(data: bytes, size: int) -> list[bytes]:
    """Cut bytes into pieces of one size."""
    return [data[at : at + size] for at in range(0, len(data), size)]
