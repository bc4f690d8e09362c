"""Tokens and sessions. Times are UTC."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from jan.schema.users import UserProfile


class TokenResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A token for its owner; ``expires_in`` in seconds."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"
    expires_in: int
    expires_at: datetime

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


class SignedIn(TokenResponse, frozen=True, kw_only=True):
    """A token, and whose it is."""

    user: UserProfile


class SignedOut(msgspec.Struct, frozen=True, kw_only=True):
    """The session is over."""

    status: Literal["signed_out"] = "signed_out"


class JsonWebKeySet(msgspec.Struct, frozen=True, kw_only=True):
    """The public keys that verify this server's tokens; none with HS256."""

    keys: list[dict[str, Any]]
