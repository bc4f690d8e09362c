"""Decode the bytes of tokens from the two spellings of vocabularies (GGUF, tokenizer.json)."""

import re
from collections.abc import Iterable

_BYTE_TOKEN = re.compile(r"^<0x([0-9A-Fa-f]{2})>$")


def byte_level_alphabet() -> dict[str, int]:
    """Return the byte of each printable stand-in of byte-level BPE, as in GPT-2 (Radford et al. 2019)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(others)}


def bytes_of_bpe(texts: Iterable[tuple[str, bool]]) -> list[bytes]:
    """Return the bytes of byte-level BPE tokens.

    Args:
        texts: each token's spelling, with True for control tokens. Those, and spellings with a character that
            stands for no byte, are taken as UTF-8 text.
    """
    alphabet = byte_level_alphabet()
    # Latin-1 encodes character n as byte n. A character that stands for no byte maps to 256, which it can't
    # encode.
    bytes_of = dict.fromkeys(range(256), 256) | {ord(character): byte for character, byte in alphabet.items()}

    def one(text: str) -> bytes:
        try:
            return text.translate(bytes_of).encode("latin-1")
        except UnicodeEncodeError:
            return text.encode()

    return [text.encode() if control else one(text) for text, control in texts]


def bytes_of_sentencepiece(texts: Iterable[str]) -> list[bytes]:
    """Return the bytes of SentencePiece tokens: ``▁`` is a space, ``<0x0A>`` a byte (Kudo & Richardson 2018)."""
    return [
        bytes([int(byte[1], 16)]) if (byte := _BYTE_TOKEN.match(text)) else text.replace("▁", " ").encode()
        for text in texts
    ]
