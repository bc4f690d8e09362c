"""Tokens and sessions. Times are UTC."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from jan.schema.users import UserProfile


class SignInQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Where a sign-in ends."""

    return_to: Annotated[str, Meta(description="A page of sign_in.return_to in the configuration")] | None = None


class CallbackQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider sends the browser back with; providers add parameters of their own."""

    state: Annotated[str, Meta(description="That of the sign-in which this browser began")] = ""
    code: Annotated[str, Meta(description="What the server redeems at the provider")] | None = None
    error: Annotated[str, Meta(description="Why there is no code")] | None = None
    iss: Annotated[str, Meta(description="The provider's own name")] | None = None


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
