"""Seals of audit entries: an HMAC over an entry, which holds the seal of the one before (a hash chain).

The keys are derived from the server's signing keys, which the store does not have. So whoever can write to the
store can make no entry that verifies, and cannot change, remove or reorder one without breaking the chain.
Schneier & Kelsey 1999, Secure Audit Logs to Support Computer Forensics.
"""

import hmac
from collections.abc import Callable
from datetime import datetime

import msgspec

from jan.storage.audit import AuditEntry, AuditMark, MarkKind, mark_id

_PURPOSE = b"jan audit seal"
_replace = msgspec.structs.replace

#: Returns 32 bytes for a purpose, derived from the signing key of an id; None if that is gone.
DeriveKey = Callable[[str, bytes], bytes | None]


class Seals:
    """Seals entries and marks with the server's newest key, and checks them with the key that each one names.

    ``newest`` returns the id of the signing key.
    """

    def __init__(self, newest: Callable[[], str], derive: DeriveKey) -> None:
        self._newest = newest
        self._derive = derive
        self._keys: dict[str, bytes | None] = {}

    def entry(self, entry: AuditEntry) -> AuditEntry:
        """Return the entry with its seal."""
        named = _replace(entry, kid=self._newest())
        return _replace(named, seal=self._hmac(named.kid, _content(named)))

    def mark(self, chain: str, kind: MarkKind, sequence: int, seal: str, at: datetime) -> AuditMark:
        """Make a signed mark of where a chain stands."""
        named = AuditMark(
            id=mark_id(chain, kind),
            chain=chain,
            kind=kind,
            sequence=sequence,
            seal=seal,
            at=at,
            kid=self._newest(),
        )
        return _replace(named, proof=self._hmac(named.kid, _content(named)))

    def knows(self, kid: str) -> bool:
        """Return True if the key of this id is there."""
        return self._key(kid) is not None

    def fits(self, record: AuditEntry | AuditMark) -> bool:
        """Return True if a record is as it was sealed. Its key must be there."""
        sealed = record.seal if isinstance(record, AuditEntry) else record.proof
        return hmac.compare_digest(self._hmac(record.kid, _content(record)).encode(), sealed.encode())

    def _hmac(self, kid: str, content: bytes) -> str:
        key = self._key(kid)
        if key is None:
            raise ValueError(f"There is no signing key with the id {kid}.")
        return hmac.digest(key, content, "sha256").hex()

    def _key(self, kid: str) -> bytes | None:
        if kid not in self._keys:
            self._keys[kid] = self._derive(kid, _PURPOSE)
        return self._keys[kid]


def _content(record: AuditEntry | AuditMark) -> bytes:
    """Return what is sealed: the record without its seal. A kind is never taken for the other."""
    if isinstance(record, AuditEntry):
        return b"entry " + msgspec.json.encode(_replace(record, seal=""))
    return b"mark " + msgspec.json.encode(_replace(record, proof=""))


class Head(msgspec.Struct, frozen=True):
    """The place and the seal of an entry, as logs and the first entries of later chains name it."""

    chain: str
    sequence: int
    seal: str

    def __str__(self) -> str:
        return f"{self.chain}:{self.sequence}:{self.seal}"


def parse_head(text: str) -> Head:
    """Read a head as it is logged. Raises ValueError."""
    chain, _, rest = text.strip().partition(":")
    sequence, _, seal = rest.partition(":")
    if not chain.startswith("chain_") or not sequence.isdecimal() or len(sequence) > 10 or len(seal) != 64:
        raise ValueError(
            f"'{text[:200]}' is no head of a chain; allowed: CHAIN:NUMBER:SEAL, as the log has it after 'head'."
        )
    return Head(chain, int(sequence), seal)
