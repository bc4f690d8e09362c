"""Sources of ids and secrets for new objects: random, or derived from a seed so that they can be repeated."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from types import MappingProxyType
from typing import TypeVar

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from jan.errors import Conflict, NotFound
from jan.storage.records import Record, milliseconds, new_id

R = TypeVar("R", bound=Record)

_ID_BYTES = 10


class IdSource:
    """Makes random ids and secrets."""

    #: True if the objects may have been made before and may already be in the store.
    again = False
    #: True if the request can be sent again as it is, and then makes the same ids.
    repeatable = False
    #: The id made last, by prefix. Only a source that makes the same ids again remembers it.
    last_made: Mapping[str, str] = MappingProxyType({})

    def new_id(self, prefix: str) -> str:
        """Make a new identifier."""
        return new_id(prefix)

    def token_bytes(self, count: int) -> bytes:
        """Make random bytes for a secret."""
        return secrets.token_bytes(count)

    def concern(self, object_id: str) -> None:
        """Note what the request's answer is about: a conversation, a preset. The answer is forgotten with it."""

    async def make(self, record: R, create: Callable[[R], Awaitable[None]], find: Callable[[], Awaitable[R]]) -> R:
        """Create a record with an id from this source. If an earlier attempt created it, return what ``find``
        finds."""
        try:
            await create(record)
        except Conflict:
            if self.again:
                with suppress(NotFound):
                    return await find()
            raise
        return record


class SeededIdSource(IdSource):
    """Makes the same ids and secrets, in the same order, for the same seed and time.

    ``seed`` is random and secret. ``at`` is the time that is part of the ids.
    """

    repeatable = True

    def __init__(self, seed: bytes, at: datetime, *, again: bool) -> None:
        self.again = again
        #: What the answer is about, if anything.
        self.about: str | None = None
        self._seed = seed
        self._time = f"{milliseconds(at):012x}"
        self._made = 0
        self.last_made: dict[str, str] = {}

    def new_id(self, prefix: str) -> str:
        made = self.last_made[prefix] = f"{prefix}_{self._time}{self.token_bytes(_ID_BYTES).hex()}"
        return made

    def concern(self, object_id: str) -> None:
        self.about = object_id

    def token_bytes(self, count: int) -> bytes:
        self._made += 1
        purpose = f"mint {self._made}".encode()
        return HKDF(algorithm=SHA256(), length=count, salt=None, info=purpose).derive(self._seed)
