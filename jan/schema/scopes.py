"""Permissions of callers, and the access that operations require."""

from datetime import datetime
from typing import Literal

import msgspec

from jan.schema.limits import KeyAccount, TokenBudget

Scope = Literal["read", "write", "inference", "keys", "admin"]

USER_SCOPES: frozenset[Scope] = frozenset({"read", "write", "inference", "keys"})
ADMIN_SCOPES: frozenset[Scope] = USER_SCOPES | {"admin"}


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """The callers that may use an operation.

    Users need ``scope``. ``anonymous`` callers are admitted too if the configuration allows them; with
    ``loopback``, only if it allows them from this machine. Without a scope everybody is admitted (public).
    With ``to_itself`` an API key needs no scope for the operation on itself, the ``key_id`` of the URL.
    """

    scope: Scope | None
    anonymous: bool = False
    loopback: bool = False
    to_itself: bool = False

    def __str__(self) -> str:
        if self.scope is None:
            return "public"
        if not self.anonymous:
            return f"{self.scope}{', or a key on itself' if self.to_itself else ''}"
        return f"anonymous{' on loopback' if self.loopback else ''} or {self.scope}"


PUBLIC = Access(scope=None, anonymous=True)
ANONYMOUS_OR_INFERENCE = Access(scope="inference", anonymous=True)
LOOPBACK_OR_ADMIN = Access(scope="admin", anonymous=True, loopback=True)
READ = Access(scope="read")
WRITE = Access(scope="write")
KEYS = Access(scope="keys")
KEYS_OR_ITSELF = Access(scope="keys", to_itself=True)
ADMIN = Access(scope="admin")


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """The caller of a request.

    - ``owner``: whose limits and fair share the request counts towards.
    - ``user_id``: None for an anonymous caller.
    - ``key_id``, ``session_id``: the credential that was used.
    - ``issued_at``: when the session's token was issued.
    - ``expires_at``: when the key stops working.
    - ``budget``: the user's own token budget, which overrides the configured one.
    - ``accounts``: the keys whose budgets the request is charged to: the one used first, then those that made it.
    """

    owner: str
    user_id: str | None = None
    scopes: frozenset[Scope] = frozenset()
    key_id: str | None = None
    session_id: str | None = None
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    budget: TokenBudget = TokenBudget()
    accounts: tuple[KeyAccount, ...] = ()

    @property
    def anonymous(self) -> bool:
        """True if the request carries no credentials."""
        return self.user_id is None
