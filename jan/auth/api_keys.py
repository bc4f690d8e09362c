"""API keys: 256 random bits, shown once. Only a hash and a recognisable prefix are kept."""

import hashlib
import secrets
from base64 import urlsafe_b64encode

PREFIX = "jan_"
_SHOWN = 12
#: Random bytes in a key.
SECRET_BYTES = 32


def generate(random: bytes | None = None) -> str:
    """Generate a new key, from these random bytes if any are given."""
    return PREFIX + urlsafe_b64encode(random or secrets.token_bytes(SECRET_BYTES)).rstrip(b"=").decode()


def looks_like_key(credential: str) -> bool:
    """Return True if a credential has the form of an API key rather than of a token."""
    return credential.startswith(PREFIX)


def hash_of(key: str) -> str:
    """Return the hash that is stored and looked up. 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(key.encode()).hexdigest()


def prefix_of(key: str) -> str:
    """Return the prefix by which a person recognises the key. It reveals 40 bits, and nothing of the rest."""
    return key[:_SHOWN]
