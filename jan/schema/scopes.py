"""Permissions of callers, and the access that operations require."""

from datetime import datetime
from typing import Literal

import msgspec

from jan.schema.limits import TokenBudget

Scope = Literal["read", "write", "inference", "admin"]

USER_SCOPES: frozenset[Scope] = frozenset({"read", "write", "inference"})
ADMIN_SCOPES: frozenset[Scope] = USER_SCOPES | {"admin"}


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """The callers that may use an operation.

    Users need ``scope``. ``anonymous`` callers are admitted too if the configuration allows them; with
    ``loopback``, only if it allows them from this machine. Without a scope everybody is admitted (public).
    """

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
    """The caller of a request.

    - ``owner``: whose limits and fair share the request counts towards.
    - ``user_id``: None for an anonymous caller.
    - ``key_id``, ``session_id``: the credential that was used.
    - ``expires_at``: when the key stops working.
    - ``budget``, ``key_budget``: token budgets of this user and this key that override the configured ones.
    """

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
        """True if the request carries no credentials."""
        return self.user_id is None
