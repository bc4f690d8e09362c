"""The bytes of every token, from the two ways in which vocabularies (GGUF, tokenizer.json) spell them."""

import re
from collections.abc import Iterable

_BYTE_TOKEN = re.compile(r"^<0x([0-9A-Fa-f]{2})>$")


def byte_level_alphabet() -> dict[str, int]:
    """The printable stand-in of every byte in byte-level BPE (as defined by GPT-2's encoder)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(others)}


def bytes_of_bpe(texts: Iterable[tuple[str, bool]]) -> list[bytes]:
    """Bytes of byte-level BPE tokens; of control tokens (flag True), and of those with a character that stands for
    no byte, the text as it stands."""
    alphabet = byte_level_alphabet()
    # In Latin-1 character and byte are the same number; a character of no byte becomes one that it does not have.
    bytes_of = dict.fromkeys(range(256), 256) | {ord(character): byte for character, byte in alphabet.items()}

    def one(text: str) -> bytes:
        try:
            return text.translate(bytes_of).encode("latin-1")
        except UnicodeEncodeError:
            return text.encode()

    return [text.encode() if control else one(text) for text, control in texts]


def bytes_of_sentencepiece(texts: Iterable[str]) -> list[bytes]:
    """Bytes of SentencePiece tokens: ``▁`` is a space, ``<0x0A>`` a byte."""
    return [
        bytes([int(byte[1], 16)]) if (byte := _BYTE_TOKEN.match(text)) else text.replace("▁", " ").encode()
        for text in texts
    ]
