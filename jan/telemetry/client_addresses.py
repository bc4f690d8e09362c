"""Addresses of clients as the log and the audit show them."""

import hmac
from collections.abc import Callable
from functools import lru_cache

_PURPOSE = b"jan addresses of clients"
_DIGITS = 16
# Clients whose hash is known without computing it again.
_CLIENTS = 4096


class ClientAddresses:
    """Shows addresses as they are or, if ``hashed``, as 64 bits that are the same for the same address.

    There are so few addresses that a plain hash could be reversed by trying all of them. So it is keyed:
    ``derived`` derives keys for a purpose from those of the server, the newest first.
    """

    def __init__(self, *, hashed: bool, derived: Callable[[bytes], list[bytes]]) -> None:
        self._derived = derived
        #: Return an address as it is to be shown.
        self.shown: Callable[[str], str] = lru_cache(_CLIENTS)(self._hash) if hashed else str

    def _hash(self, address: str) -> str:
        key = self._derived(_PURPOSE)[0]
        return f"hash:{hmac.digest(key, address.encode(), 'sha256').hex()[:_DIGITS]}"
