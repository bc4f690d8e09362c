"""API keys: 256 random bits, shown once; only a hash and a recognisable beginning are kept."""

import hashlib
import secrets
from base64 import urlsafe_b64encode

PREFIX = "jan_"
_SHOWN = 12
#: Bytes of chance in a key.
SECRET_BYTES = 32


def generate(random: bytes | None = None) -> str:
    """A new key, of these random bytes if any are given."""
    return PREFIX + urlsafe_b64encode(random or secrets.token_bytes(SECRET_BYTES)).rstrip(b"=").decode()


def looks_like_key(credential: str) -> bool:
    """Whether a credential is meant as an API key rather than as a token."""
    return credential.startswith(PREFIX)


def hash_of(key: str) -> str:
    """What is stored and looked up. No salt and no slow hash: nobody guesses 256 random bits."""
    return hashlib.sha256(key.encode()).hexdigest()


def prefix_of(key: str) -> str:
    """What a person recognises the key by; 40 bits of it, which say nothing of the rest."""
    return key[:_SHOWN]
