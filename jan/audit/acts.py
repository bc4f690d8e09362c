"""The acts that are audited, who acts, and the contract of those who record them."""

from contextvars import ContextVar
from typing import Literal, Protocol

import msgspec

Act = Literal[
    "audit.cut",
    "audit.lost",
    "chain.began",
    "key.made",
    "key.renamed",
    "key.revoked",
    "key.rotated",
    "request.refused",
    "server.started",
    "server.stopped",
    "session.ended",
    "session.token_reused",
    "sessions.all_ended",
    "share.made",
    "share.revoked",
    "sign_in.link_made",
    "sign_in.refused",
    "store.exported",
    "store.imported",
    "user.added",
    "user.budget_changed",
    "user.deleted",
    "user.disabled",
    "user.enabled",
    "user.linked",
    "user.renamed",
    "user.role_changed",
    "user.signed_in",
]


class Actor(msgspec.Struct, frozen=True):
    """Whoever acts: the id of a user, ``command_line``, ``server``, or None for somebody unknown.

    ``credential`` is the id of the key or session that was used, ``address`` the client's.
    """

    id: str | None = None
    credential: str | None = None
    address: str | None = None


COMMAND_LINE = Actor("command_line")
SERVER = Actor("server")
#: Who acts in the current task. Work that a request begins inherits it.
acting: ContextVar[Actor] = ContextVar("jan_acting", default=SERVER)


class Auditor(Protocol):
    """Records acts, as those of whoever is ``acting``."""

    async def record(
        self, act: Act, *, user_id: str | None = None, target: str | None = None, **details: str
    ) -> None:
        """Record an act durably. Raises Unavailable; the entry is then written as soon as the store is back.

        ``user_id`` is whose account is concerned, ``target`` the id of what was acted upon.
        """

    def note(self, act: Act, *, user_id: str | None = None, target: str | None = None, **details: str) -> None:
        """Record an act without waiting for the store."""
