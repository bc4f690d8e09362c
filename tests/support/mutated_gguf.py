"""Wrong GGUF files, made from a right one: each field of the header with values that it can't have."""

import struct
from collections.abc import Iterator

_LARGE = 0xFFFF_FFFF
#: Offsets of the counts of tensors and of entries.
_TENSORS, _ENTRIES = 8, 16


def mutations(right: bytes, keys: list[str], tensors: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield wrong files, each with what was done to it; the same ones for the same file."""
    for at in (0, 3, 4, 8, 15, 24, 25, 40, 200, 1000, len(right) // 2, len(right) - 1):
        yield f"cut off at {at}", right[:at]
    for name, at in (("tensors", _TENSORS), ("entries", _ENTRIES)):
        for count in (0, 1, 1 << 20, (1 << 64) - 1):
            yield f"{count} {name}", _with(right, at, struct.pack("<Q", count))
    for version in (0, 1, 4, 0x03000000):
        yield f"version {version}", _with(right, 4, struct.pack("<I", version))
    for key in keys:
        yield from _of_entry(right, key)
    for name in tensors:
        yield from _of_tensor(right, name)


def _with(right: bytes, at: int, new: bytes) -> bytes:
    return right[:at] + new + right[at + len(new) :]


def _behind(right: bytes, name: str) -> int:
    """Return where the bytes behind a key or a tensor's name begin."""
    written = struct.pack("<Q", len(name)) + name.encode()
    return right.index(written) + len(written)


def _of_entry(right: bytes, key: str) -> Iterator[tuple[str, bytes]]:
    at = _behind(right, key)
    yield f"length of the key {key}", _with(right, at - len(key) - 8, struct.pack("<Q", 1 << 40))
    for kind in (0, 6, 8, 9, 12, 13, _LARGE):
        yield f"{key} of type {kind}", _with(right, at, struct.pack("<I", kind))
    for value in (0, 1, 0x7FFF_FFFF, _LARGE):
        yield f"{key} begins with {value}", _with(right, at + 4, struct.pack("<I", value))


def _of_tensor(right: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    at = _behind(right, name)
    dimensions = struct.unpack_from("<I", right, at)[0]
    for count in (0, 3, 5, _LARGE):
        yield f"{name} of {count} dimensions", _with(right, at, struct.pack("<I", count))
    for size in (0, 1, 1 << 31, (1 << 63) - 1):
        yield f"{name} with {size} rows", _with(right, at + 4, struct.pack("<Q", size))
    kind = at + 4 + 8 * dimensions
    for number in (1, 2, 17, 39, 40, 255, _LARGE):
        yield f"{name} of type {number}", _with(right, kind, struct.pack("<I", number))
    for offset in (1, 32, 1 << 40, (1 << 64) - 32):
        yield f"{name} at {offset}", _with(right, kind + 4, struct.pack("<Q", offset))
