"""Read the header of a GGUF file without a model library, and check every number in it.

Source: ggml's documentation of the format, versions 2 and 3. Libraries trust the header: one wrong number can end
their process.
"""

import math
import mmap
import struct
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from jan.errors import ConfigurationError

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MOST_ENTRIES = 1 << 16
_MOST_TENSORS = 1 << 18
_LONGEST_KEY, _LONGEST_TENSOR_NAME = 1 << 16, 63
_LONGEST_TEXT = 1 << 26
_MOST_ITEMS = 1 << 24
_MOST_DIMENSIONS = 4
_MOST_NUMBERS = 1 << 62
_LARGEST_ALIGNMENT = 1 << 20
_DEFAULT_ALIGNMENT = 32
# More than ggml has.
_MOST_TENSOR_TYPES = 256
_STRING, _ARRAY = 8, 9
#: struct's letters for GGUF's numbers of types.
_FORMATS = MappingProxyType(
    {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
)
#: What these entries of an architecture may be.
_BOUNDS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "attention.head_count": (0, 1 << 16),
        "attention.head_count_kv": (0, 1 << 16),
        "attention.key_length": (0, 1 << 20),
        "attention.value_length": (0, 1 << 20),
        "block_count": (1, 10_000),
        "context_length": (1, 1 << 31),
        "embedding_length": (1, 1 << 20),
        "expert_count": (0, 1 << 16),
        "expert_used_count": (0, 1 << 16),
        "feed_forward_length": (0, 1 << 24),
        "rope.dimension_count": (0, 1 << 20),
        "vocab_size": (1, 1 << 24),
    }
)
_TOKENS = "tokenizer.ggml.tokens"


class GgufTensor(NamedTuple):
    """Where a tensor is: ``begin`` in the file, in bytes. ``kind``: ggml's number of its type. ``shape``: as in
    the file, the length of a row first."""

    begin: int
    kind: int
    shape: tuple[int, ...]

    @property
    def numbers(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


class Texts:
    """The texts of an array, of which only the number is kept."""

    def __init__(self, count: int) -> None:
        self.count = count


def read_gguf_header(file: Path) -> dict[str, Any]:
    """Return a file's metadata under GGUF's own keys; arrays of texts as ``Texts``.

    Raises ConfigurationError that names the field that is wrong.
    """
    return _read_whole(file)[0]


def read_gguf_layout(file: Path) -> dict[str, GgufTensor]:
    """Return where a file's tensors are, by their names. Raises ConfigurationError."""
    return _read_whole(file)[1]


def _read_whole(file: Path) -> tuple[dict[str, Any], dict[str, GgufTensor]]:
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            header = _Header(data, f"Model file {file}")
            return header.read(), header.tensors
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "It is empty"
        raise ConfigurationError(f"Model file {file} can't be read: {reason}.") from error


class _Header:
    """The header in a file's bytes."""

    def __init__(self, data: mmap.mmap, named: str) -> None:
        self._data = data
        self._at = 0
        self._named = named
        self.tensors: dict[str, GgufTensor] = {}

    def read(self) -> dict[str, Any]:
        if self._data[:4] != _MAGIC:
            raise self._wrong("its beginning", "is not that of a GGUF file")
        self._at = len(_MAGIC)
        version = self._number("I", "its version")
        if version not in _VERSIONS:
            raise self._wrong("its version", f"is {version}; allowed: 2, 3")
        tensors = self._count("the number of tensors", _MOST_TENSORS)
        entries = self._count("the number of entries", _MOST_ENTRIES)
        metadata: dict[str, Any] = {}
        for number in range(entries):
            key = self._text(f"the key of entry {number}", _LONGEST_KEY)
            if key in metadata:
                raise self._wrong(key, "is there twice")
            metadata[key] = self._value(self._number("I", f"the type of {key}"), key)
        self._check_architecture(metadata)
        self._check_vocabulary(metadata)
        self._check_tensors(tensors, metadata)
        return metadata

    # --- parts --------------------------------------------------------------------------------------

    def _wrong(self, field: str, why: str) -> ConfigurationError:
        return ConfigurationError(f"{self._named} can't be loaded: In its header, {field} {why}.")

    def _take(self, size: int, field: str) -> int:
        """Return where the next ``size`` bytes are, and go behind them."""
        begin, end = self._at, self._at + size
        if end > len(self._data):
            raise self._wrong(field, "is beyond the end of the file, which may be cut off")
        self._at = end
        return begin

    def _number(self, format_: str, field: str) -> Any:
        return struct.unpack_from(f"<{format_}", self._data, self._take(struct.calcsize(f"<{format_}"), field))[0]

    def _count(self, field: str, most: int) -> int:
        count = int(self._number("Q", field))
        if count > most:
            raise self._wrong(field, f"is {count}; allowed: at most {most}")
        return count

    def _text(self, field: str, longest: int) -> str:
        size = self._count(f"the length of {field}", longest)
        begin = self._take(size, field)
        return self._data[begin : begin + size].decode("utf-8", "replace")

    def _value(self, kind: int, key: str) -> Any:
        if kind == _STRING:
            return self._text(key, _LONGEST_TEXT)
        if kind in _FORMATS:
            return self._number(_FORMATS[kind], key)
        if kind != _ARRAY:
            raise self._wrong(f"the type of {key}", f"is {kind}; allowed: 0 to 12")
        item = self._number("I", f"the type of the items of {key}")
        count = self._count(f"the number of items of {key}", _MOST_ITEMS)
        if item == _STRING:
            return self._skip_texts(count, key)
        if item not in _FORMATS:
            raise self._wrong(f"the type of the items of {key}", f"is {item}; allowed: 0 to 8, 10 to 12")
        size = struct.calcsize(f"<{_FORMATS[item]}")
        begin = self._take(count * size, key)
        return list(struct.unpack_from(f"<{count}{_FORMATS[item]}", self._data, begin))

    def _skip_texts(self, count: int, key: str) -> Texts:
        at, end, unpack = self._at, len(self._data), struct.Struct("<Q").unpack_from
        for number in range(count):
            if at + 8 > end or (size := unpack(self._data, at)[0]) > _LONGEST_TEXT or at + 8 + size > end:
                raise self._wrong(f"item {number} of {key}", "is beyond the end of the file or too long")
            at += 8 + size
        self._at = at
        return Texts(count)

    # --- checks -------------------------------------------------------------------------------------

    def _check_architecture(self, metadata: dict[str, Any]) -> None:
        name = metadata.get("general.architecture")
        if not isinstance(name, str) or not name:
            raise self._wrong("general.architecture", "is missing")
        for entry, (least, most) in _BOUNDS.items():
            found = metadata.get(f"{name}.{entry}")
            for number in found if isinstance(found, list) else [found]:
                if number is not None and not (_is_whole(number) and least <= number <= most):
                    raise self._wrong(f"{name}.{entry}", f"is {number!r:.60}; allowed: {least} to {most}")

    def _check_vocabulary(self, metadata: dict[str, Any]) -> None:
        tokens = metadata.get(_TOKENS)
        if tokens is None:
            return
        if not isinstance(tokens, Texts):
            raise self._wrong(_TOKENS, "is no list of texts")
        for key in ("tokenizer.ggml.scores", "tokenizer.ggml.token_type"):
            found = metadata.get(key)
            if found is not None and (not isinstance(found, list) or len(found) != tokens.count):
                raise self._wrong(key, f"must have {tokens.count} items, as {_TOKENS} has")
        for key, number in metadata.items():
            of_tokens = key.startswith("tokenizer.ggml.") and key.endswith("_token_id")
            # Files write -1, or its 32 bits, for a token that there is not.
            if of_tokens and not (_is_whole(number) and (number < tokens.count or number == 0xFFFFFFFF)):
                raise self._wrong(key, f"is {number!r:.60}; allowed: 0 to {tokens.count - 1}")

    def _check_tensors(self, count: int, metadata: dict[str, Any]) -> None:
        alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
        if not _is_whole(alignment) or not 0 < alignment <= _LARGEST_ALIGNMENT or alignment & (alignment - 1):
            raise self._wrong("general.alignment", f"is {alignment!r:.60}; allowed: a power of 2")
        for number in range(count):
            name = self._text(f"the name of tensor {number}", _LONGEST_TENSOR_NAME)
            if name in self.tensors:
                raise self._wrong(f"tensor {name}", "is there twice")
            self.tensors[name] = self._tensor(name, alignment)
        data = -(-self._at // alignment) * alignment
        for name, tensor in self.tensors.items():
            self.tensors[name] = tensor._replace(begin=data + tensor.begin)
            if data + tensor.begin >= len(self._data):
                raise self._wrong(f"the offset of tensor {name}", "is beyond the end of the file")

    def _tensor(self, name: str, alignment: int) -> GgufTensor:
        """Check a tensor's shape and type. It begins at its offset in the data."""
        dimensions = self._number("I", f"the dimensions of tensor {name}")
        if not 1 <= dimensions <= _MOST_DIMENSIONS:
            raise self._wrong(f"the dimensions of tensor {name}", f"are {dimensions}; allowed: 1 to 4")
        shape: list[int] = []
        for _ in range(dimensions):
            shape.append(int(self._number("Q", f"the shape of tensor {name}")))
            if not 0 < math.prod(shape) <= _MOST_NUMBERS:
                raise self._wrong(f"the shape of tensor {name}", "is empty or too large")
        kind = self._number("I", f"the type of tensor {name}")
        if kind >= _MOST_TENSOR_TYPES:
            raise self._wrong(f"the type of tensor {name}", f"is {kind}; allowed: less than {_MOST_TENSOR_TYPES}")
        offset = int(self._number("Q", f"the offset of tensor {name}"))
        if offset % alignment:
            raise self._wrong(f"the offset of tensor {name}", f"is {offset}; allowed: multiples of {alignment}")
        return GgufTensor(offset, kind, tuple(shape))


def _is_whole(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)
