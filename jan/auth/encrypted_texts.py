"""Texts that clients keep for this server without being able to read or change them: the reasoning of an answer,
the summary of a conversation.

They are encrypted by AES-SIV (RFC 5297), which authenticates them and needs no nonce: the same text gives the same
result. Each owner has a key of its own, derived from the server's signing keys.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from functools import cached_property
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_PURPOSE = b"jan encrypted texts"
# Texts of other servers begin otherwise.
_PREFIX = "jan1."
_KEY_BYTES = 64
_TAG_BYTES = 16

#: What a text is. One kind is never taken for another.
Kind = Literal["reasoning", "compaction"]


class EncryptedTexts:
    """Encrypts and decrypts texts.

    ``derived`` returns 32 bytes for a purpose from each signing key, newest first.
    """

    def __init__(self, derived: Callable[[bytes], list[bytes]]) -> None:
        self._derived = derived

    def of(self, owner: str) -> "TextsOfOwner":
        """Return the texts of one owner, which no other owner can use."""
        return TextsOfOwner(self._derived, owner)


class TextsOfOwner:
    """Encrypts and decrypts the texts of one owner."""

    def __init__(self, derived: Callable[[bytes], list[bytes]], owner: str) -> None:
        self._derived = derived
        self._owner = owner

    @cached_property
    def _ciphers(self) -> list[AESSIV]:
        return [AESSIV(_key_of(secret, self._owner)) for secret in self._derived(_PURPOSE)]

    def encrypt(self, kind: Kind, text: str) -> str:
        """Return a text that is not empty, encrypted with the newest key: printable ASCII."""
        encrypted = self._ciphers[0].encrypt(text.encode(), [kind.encode()])
        return _PREFIX + urlsafe_b64encode(encrypted).decode()

    def decrypt(self, kind: Kind, encrypted: str) -> str | None:
        """Return the text; None for one of another owner, kind or server, and for one that was changed."""
        data = _bytes_of(encrypted)
        if data is None:
            return None
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(data, [kind.encode()]).decode()
            except InvalidTag:
                continue  # not of this key
        return None


def _bytes_of(encrypted: str) -> bytes | None:
    if not encrypted.startswith(_PREFIX):
        return None
    try:
        data = urlsafe_b64decode(encrypted.removeprefix(_PREFIX))
    except (binascii.Error, ValueError):
        return None
    return data if len(data) > _TAG_BYTES else None


def _key_of(secret: bytes, owner: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=owner.encode()).derive(secret)
