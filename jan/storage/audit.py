"""The audit: entries that only grow, in one chain for each process, and signed marks of where a chain stands."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from jan.storage.records import Page, Record, milliseconds, new_id

_CHAIN = "chain_"
_LAST = 10**10 - 1


def new_chain() -> str:
    """Make the id of a new chain. Ids sort by the time when their chain began."""
    return new_id(_CHAIN.removesuffix("_"))


def entry_id(chain: str, sequence: int) -> str:
    """Return the id of an entry: it sorts by chain, then by the entry's place in it."""
    return f"audit_{chain.removeprefix(_CHAIN)}_{sequence:010d}"


def ids_of(chain: str, after: int, last: int = _LAST) -> tuple[str, str]:
    """Return the bounds of the ids of a chain's entries beyond ``after``, up to and including ``last``."""
    return entry_id(chain, after), entry_id(chain, last)


class AuditEntry(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One act, sealed. It holds ids, and never names, e-mail addresses, texts or secrets.

    - ``chain``, ``sequence``: its place, from 1 in each chain.
    - ``actor``: the id of the user who acted, ``command_line`` or ``server``; None for somebody unknown.
    - ``credential``: the id of the key or session that was used.
    - ``user_id``: whose account is concerned; ``target``: the id of what was acted upon.
    - ``count``: how often, for acts that are counted.
    - ``after``: heads of other chains, in the first entry of a chain.
    - ``kid``: the key of ``seal``, an HMAC over all other fields. ``previous`` is the seal of the entry before.
    """

    id: str
    chain: str
    sequence: int
    at: datetime
    act: str
    actor: str | None = None
    credential: str | None = None
    address: str | None = None
    user_id: str | None = None
    target: str | None = None
    count: int = 1
    details: dict[str, str] = msgspec.field(default_factory=dict)
    after: tuple[str, ...] = ()
    kid: str
    previous: str
    seal: str = ""

    @property
    def position(self) -> str:
        """The sort key of lists by time: one string to index, compare and page by."""
        return f"{milliseconds(self.at):012x}.{self.id}"


MarkKind = Literal["head", "cut"]


class AuditMark(Record, frozen=True, kw_only=True):
    """Where a chain stands, signed by ``proof``.

    ``head``: its last entry. ``cut``: the last entry that was removed because of its age. ``seal`` is that of the
    entry at ``sequence``; "" at 0.
    """

    id: str
    chain: str
    kind: MarkKind
    sequence: int
    seal: str
    at: datetime
    kid: str
    proof: str = ""


def mark_id(chain: str, kind: MarkKind) -> str:
    """Return the id of a chain's head or cut."""
    return f"{chain}.{kind}"


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Selects entries by what they hold. None admits all."""

    user_id: str | None = None
    actor: str | None = None
    act: str | None = None


ALL_ENTRIES = AuditFilter()


class AuditLog(Protocol):
    """Entries and marks. Nothing changes an entry, and only ``cut`` removes some."""

    async def append(self, entries: Sequence[AuditEntry], head: AuditMark) -> None:
        """Add entries of a chain in order, and set its head. Those already stored are not added again.

        Raises Conflict if another entry has the id of one of them.
        """

    async def page(
        self, *, limit: int, cursor: str | None = None, wanted: AuditFilter = ALL_ENTRIES
    ) -> Page[AuditEntry]:
        """List the entries of all chains, the newest first."""

    async def oldest(self, before: datetime, limit: int) -> list[AuditEntry]:
        """Return the oldest entries from before this time, the oldest first."""

    async def follow(self, chain: str, *, after: int, limit: int) -> list[AuditEntry]:
        """Return the entries of a chain beyond the sequence number ``after``, in order."""

    async def heads(self, limit: int) -> list[AuditMark]:
        """Return the heads of chains that were written to most recently, the newest first."""

    async def marks(self, chain: str) -> list[AuditMark]:
        """Return the head and the cut of a chain, as far as it has them."""

    async def misfiled(self) -> str | None:
        """Return the id of an entry that lists do not show where its own fields say; None if there is none."""

    async def cut(self, mark: AuditMark) -> int:
        """Store a cut, then remove the entries of its chain up to it; return their number."""
