"""The keys that sign tokens: files of this server, several at a time so that they can be rotated."""

import os
import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm

from jan.errors import ConfigurationError
from jan.settings.folders import why_unwritable

Algorithm = Literal["HS256", "RS256", "EdDSA"]
_SECRET_BYTES = 32
_RSA_BITS = 3072


class SigningKey(msgspec.Struct, frozen=True):
    """One signing key. Its algorithm belongs to it, so a token can't choose another."""

    kid: str
    algorithm: Algorithm
    private: Any
    public: Any

    def __repr__(self) -> str:
        return f"SigningKey(kid={self.kid!r}, algorithm={self.algorithm!r})"

    def public_jwk(self) -> dict[str, Any] | None:
        """The public half as a JSON Web Key (RFC 7517). None for a shared secret, which has none."""
        if self.algorithm == "HS256":
            return None
        encode = RSAAlgorithm.to_jwk if self.algorithm == "RS256" else OKPAlgorithm.to_jwk
        return {**encode(self.public, as_dict=True), "kid": self.kid, "use": "sig", "alg": self.algorithm}


class Keyring:
    """The signing keys in a folder of mode 0700, one file of mode 0600 for each.

    The newest key of the configured algorithm signs. Every key in the folder verifies the tokens that it signed.
    Deleting a file invalidates all tokens of that key. So does moving it to the folder ``retired`` below, where it
    still verifies the audit entries that were sealed with it.
    """

    def __init__(self, folder: Path, algorithm: Algorithm) -> None:
        self._folder = folder
        self._algorithm = algorithm
        self._keys: dict[str, SigningKey] = {}

    def check(self) -> None:
        """Raise ConfigurationError if ``load`` would. Nothing is made."""
        try:
            keys = [_read(file) for file in sorted(self._folder.glob("*.key"))]
        except OSError as error:
            raise self._unreadable(str(error.strerror)) from error
        reason = None if self._sign(keys) else why_unwritable(self._folder)
        if reason is not None:
            raise ConfigurationError(f"data: Can't make signing keys in {self._folder}: {reason}.")

    def load(self) -> None:
        """Read the folder; create the first key if there is none. Raises ConfigurationError for unusable files."""
        try:
            # One by one: mkdir would ignore the mode for parents that it creates, such as the data folder.
            for folder in reversed([p for p in (self._folder, *self._folder.parents) if not p.exists()]):
                folder.mkdir(mode=0o700, exist_ok=True)
            files = sorted(self._folder.glob("*.key"))
            self._keys = {key.kid: key for key in map(_read, files)}
            if not self._sign(self._keys.values()):
                self.rotate()
        except OSError as error:
            raise self._unreadable(str(error.strerror)) from error

    def _sign(self, keys: Iterable[SigningKey]) -> bool:
        """Return whether any of these keys is of the algorithm that signs."""
        return any(key.algorithm == self._algorithm for key in keys)

    def _unreadable(self, reason: str) -> ConfigurationError:
        return ConfigurationError(f"{self._folder}: Can't read the signing keys: {reason}.")

    def rotate(self) -> str:
        """Create a new key, which signs from now on; return its id. The other keys still verify."""
        kid = f"{time.time_ns():020d}{secrets.token_hex(4)}"
        file = self._folder / f"{kid}.{self._algorithm}.key"
        # The file appears complete or not at all, and is never readable by others.
        partial = file.with_suffix(".partial")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(_generate(self._algorithm))
            stream.flush()
            os.fsync(stream.fileno())
        partial.rename(file)
        self._keys[kid] = _read(file)
        return kid

    @property
    def signing(self) -> SigningKey:
        """The key that signs: the newest of the configured algorithm."""
        return max((k for k in self._keys.values() if k.algorithm == self._algorithm), key=lambda k: k.kid)

    def find(self, kid: Any) -> SigningKey | None:
        """Return the key with this id. Ids are only compared and never used as a path."""
        return self._keys.get(kid) if isinstance(kid, str) else None

    def derived(self, purpose: bytes) -> list[bytes]:
        """Derive 32 bytes for another purpose from each key, newest first. They reveal nothing about the keys."""
        newest_first = sorted(self._keys.values(), key=lambda key: key.kid, reverse=True)
        return [_derive(key, purpose) for key in newest_first]

    def server_id(self) -> str:
        """Return a short id of the server that has these keys. It stays when keys are rotated."""
        return self.derived(b"jan id of the server")[-1][:4].hex()

    def derived_from(self, kid: str, purpose: bytes) -> bytes | None:
        """Derive 32 bytes for another purpose from one key, which may be retired; None if it is not there."""
        key = self._keys.get(kid) or self._retired().get(kid)
        return None if key is None else _derive(key, purpose)

    def _retired(self) -> dict[str, SigningKey]:
        """Return the keys that verify no tokens any more, but what was sealed with them."""
        return {key.kid: key for key in map(_read, sorted((self._folder / "retired").glob("*.key")))}

    def jwks(self) -> list[dict[str, Any]]:
        """List the public keys, with which anyone can verify our tokens."""
        return [jwk for key in self._keys.values() if (jwk := key.public_jwk()) is not None]


def _derive(key: SigningKey, purpose: bytes) -> bytes:
    material = key.private
    if not isinstance(material, bytes):
        material = material.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(material)


def _generate(algorithm: Algorithm) -> bytes:
    if algorithm == "HS256":
        return secrets.token_bytes(_SECRET_BYTES)
    private: RSAPrivateKey | Ed25519PrivateKey = (
        generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
        if algorithm == "RS256"
        else Ed25519PrivateKey.generate()
    )
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read(file: Path) -> SigningKey:
    kid, _, algorithm = file.name.removesuffix(".key").partition(".")
    data = file.read_bytes()
    if algorithm == "HS256" and len(data) >= _SECRET_BYTES:
        return SigningKey(kid, "HS256", data, data)
    try:
        private = load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{file}: Not a signing key; allowed: PEM, or 32 bytes for HS256.") from error
    if algorithm == "RS256" and isinstance(private, RSAPrivateKey):
        return SigningKey(kid, "RS256", private, private.public_key())
    if algorithm == "EdDSA" and isinstance(private, Ed25519PrivateKey):
        return SigningKey(kid, "EdDSA", private, private.public_key())
    raise ConfigurationError(f"{file}: The key does not fit the algorithm in the file's name.")
