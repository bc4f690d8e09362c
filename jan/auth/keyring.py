"""The keys that sign tokens: files of the server's own, several at a time so that they can be rotated."""

import os
import secrets
import time
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

Algorithm = Literal["HS256", "RS256", "EdDSA"]
_SECRET_BYTES = 32
_RSA_BITS = 3072


class SigningKey(msgspec.Struct, frozen=True):
    """One key; its algorithm belongs to it, so a token can't choose another for it."""

    kid: str
    algorithm: Algorithm
    private: Any
    public: Any

    def __repr__(self) -> str:
        return f"SigningKey(kid={self.kid!r}, algorithm={self.algorithm!r})"

    def public_jwk(self) -> dict[str, Any] | None:
        """The public half as a JSON Web Key; None for a shared secret, which has none."""
        if self.algorithm == "HS256":
            return None
        encode = RSAAlgorithm.to_jwk if self.algorithm == "RS256" else OKPAlgorithm.to_jwk
        return {**encode(self.public, as_dict=True), "kid": self.kid, "use": "sig", "alg": self.algorithm}


class Keyring:
    """The signing keys in a folder, mode 0700, a file a key, mode 0600.

    The newest key of the configured algorithm signs; every key in the folder verifies what it signed.
    Deleting a file ends all tokens of that key.
    """

    def __init__(self, folder: Path, algorithm: Algorithm) -> None:
        self._folder = folder
        self._algorithm = algorithm
        self._keys: dict[str, SigningKey] = {}

    def load(self) -> None:
        """Read the folder; makes the first key. Raises ConfigurationError for files that can't be used."""
        try:
            # One by one: of parents made along, the data folder among them, mkdir would ignore the mode.
            for folder in reversed([p for p in (self._folder, *self._folder.parents) if not p.exists()]):
                folder.mkdir(mode=0o700, exist_ok=True)
            files = sorted(self._folder.glob("*.key"))
            self._keys = {key.kid: key for key in map(_read, files)}
            if not any(key.algorithm == self._algorithm for key in self._keys.values()):
                self.rotate()
        except OSError as error:
            raise ConfigurationError(f"signing keys in {self._folder}: {error.strerror}") from error

    def rotate(self) -> str:
        """Make a new key, which signs from now on; the others go on verifying. Returns its id."""
        kid = f"{time.time_ns():020d}{secrets.token_hex(4)}"
        file = self._folder / f"{kid}.{self._algorithm}.key"
        # Whole or not at all, and never readable to others, not even for a moment.
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
        """The key of that id; ids are only compared, never used as a path."""
        return self._keys.get(kid) if isinstance(kid, str) else None

    def derived(self, purpose: bytes) -> list[bytes]:
        """32 bytes for another purpose from each key, newest first; they tell nothing of the keys."""
        newest_first = sorted(self._keys.values(), key=lambda key: key.kid, reverse=True)
        return [_derive(key, purpose) for key in newest_first]

    def jwks(self) -> list[dict[str, Any]]:
        """The public keys, for whoever verifies our tokens."""
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
        raise ConfigurationError(f"{file} is not a signing key (a PEM file, or 32 bytes for HS256)") from error
    if algorithm == "RS256" and isinstance(private, RSAPrivateKey):
        return SigningKey(kid, "RS256", private, private.public_key())
    if algorithm == "EdDSA" and isinstance(private, Ed25519PrivateKey):
        return SigningKey(kid, "EdDSA", private, private.public_key())
    raise ConfigurationError(f"{file} does not hold a key for the algorithm in its name")
