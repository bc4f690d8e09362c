"""What a caller may be allowed to do. Standard library and msgspec only."""

from typing import Literal

import msgspec

Scope = Literal["read", "write", "inference", "admin"]


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Who may call an operation: users who have ``scope``; ``anonymous`` callers too, where the
    configuration admits them. Without a scope and anonymous: anyone at all (public)."""

    scope: Scope | None
    anonymous: bool = False

    def __str__(self) -> str:
        if self.scope is None:
            return "public"
        return f"anonymous or {self.scope}" if self.anonymous else self.scope


PUBLIC = Access(scope=None, anonymous=True)
ANONYMOUS_OR_INFERENCE = Access(scope="inference", anonymous=True)
ANONYMOUS_OR_ADMIN = Access(scope="admin", anonymous=True)


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls. ``owner`` names whose share and limits a request counts towards."""

    owner: str
    anonymous: bool
    scopes: frozenset[Scope] = frozenset()
