"""Headers of GGUF files: read, or refused by the name of a field, in time that goes with the file's size."""

import struct
from collections.abc import Iterable
from pathlib import Path
from tempfile import NamedTemporaryFile

from jan.engine.model_trials.gguf_header import Texts, read_gguf_header
from jan.errors import ConfigurationError

_U32, _STRING, _ARRAY, _I32 = 4, 8, 9, 5
_KEYS = (
    "general.architecture",
    "general.alignment",
    "tokenizer.ggml.tokens",
    "tokenizer.ggml.token_type",
    "llama.",
)


def words() -> Iterable[bytes]:
    """Yield keys, and numbers that are at the edge of something."""
    yield from (key.encode() for key in _KEYS)
    yield from (_text(key) for key in _KEYS[:-1])
    yield from (b"block_count", b"attention.head_count", b"vocab_size", b"tokenizer.ggml.eos_token_id")
    yield from (struct.pack("<I", number) for number in range(13))
    yield from (struct.pack("<Q", number) for number in (0, 1, 31, 32, 1 << 24, 1 << 26, 1 << 62, (1 << 64) - 32))


def seeds() -> Iterable[bytes]:
    """Yield a right header of each version, with all kinds of entries."""
    numbers = [_text(f"n.{kind}") + struct.pack("<I", kind) + bytes(8) for kind in (10, 11, 12)]
    tokens = struct.pack("<IIQ", _ARRAY, _STRING, 2) + _text("a") + _text("b")
    kinds = struct.pack("<IIQii", _ARRAY, _I32, 2, 1, 3)
    entries = [
        _text("general.architecture") + struct.pack("<I", _STRING) + _text("llama"),
        _text("llama.block_count") + struct.pack("<II", _U32, 1),
        _text("llama.attention.head_count") + struct.pack("<IIQII", _ARRAY, _U32, 2, 1, 2),
        _text("tokenizer.ggml.tokens") + tokens,
        _text("tokenizer.ggml.token_type") + kinds,
        _text("tokenizer.ggml.eos_token_id") + struct.pack("<II", _U32, 1),
        *numbers,
    ]
    tensor = _text("a.weight") + struct.pack("<IQQIQ", 2, 4, 2, 0, 0)
    for version in (2, 3):
        yield b"GGUF" + struct.pack("<IQQ", version, 1, len(entries)) + b"".join(entries) + tensor + bytes(96)


def check(data: bytes) -> None:
    """Read one file."""
    with NamedTemporaryFile(suffix=".gguf") as file:
        file.write(data)
        file.flush()
        try:
            metadata = read_gguf_header(Path(file.name))
        except ConfigurationError as error:
            _check_refusal(error.message, len(data))
            return
    assert data.startswith(b"GGUF")
    assert metadata["general.architecture"]
    # Nothing was made that is not in the file.
    assert sum(_size(value) for value in metadata.values()) <= len(data)


def _check_refusal(message: str, size: int) -> None:
    message.encode()
    assert len(message) < size + 400, message


def _size(value: object) -> int:
    """Return the least number of bytes that a value has in a file."""
    if isinstance(value, Texts):
        return 8 * value.count
    return len(value) if isinstance(value, list) else 1


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()
