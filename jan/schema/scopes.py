"""What a caller may be allowed to do."""

from datetime import datetime
from typing import Literal

import msgspec

from jan.schema.limits import TokenBudget

Scope = Literal["read", "write", "inference", "admin"]

USER_SCOPES: frozenset[Scope] = frozenset({"read", "write", "inference"})
ADMIN_SCOPES: frozenset[Scope] = USER_SCOPES | {"admin"}


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Who may call an operation: users who have ``scope``; ``anonymous`` callers too, where the
    configuration admits them, or, with ``loopback``, where it admits them on this machine alone. Without a scope
    and anonymous: anyone at all (public)."""

    scope: Scope | None
    anonymous: bool = False
    loopback: bool = False

    def __str__(self) -> str:
        if self.scope is None:
            return "public"
        if not self.anonymous:
            return self.scope
        return f"anonymous{' on loopback' if self.loopback else ''} or {self.scope}"


PUBLIC = Access(scope=None, anonymous=True)
ANONYMOUS_OR_INFERENCE = Access(scope="inference", anonymous=True)
LOOPBACK_OR_ADMIN = Access(scope="admin", anonymous=True, loopback=True)
READ = Access(scope="read")
WRITE = Access(scope="write")
ADMIN = Access(scope="admin")


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls. ``owner`` names whose share and limits a request counts towards; ``user_id`` is None for
    an anonymous caller, ``key_id`` and ``session_id`` say what the caller came with, ``expires_at`` until when
    a key is good. ``budget``, ``key_budget``: what this user and this key are given otherwise than as
    configured."""

    owner: str
    user_id: str | None = None
    scopes: frozenset[Scope] = frozenset()
    key_id: str | None = None
    session_id: str | None = None
    expires_at: datetime | None = None
    budget: TokenBudget = TokenBudget()
    key_budget: TokenBudget = TokenBudget()

    @property
    def anonymous(self) -> bool:
        """Whether nobody is known by this request."""
        return self.user_id is None
