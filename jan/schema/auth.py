"""Tokens, sessions and sign-in. Times are UTC."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from jan.schema.users import UserProfile


class SignInQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of a sign-in with the configured provider."""

    return_to: (
        Annotated[str, Meta(description="A page listed in the configuration's `sign_in.return_to`")] | None
    ) = None


class CallbackQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters with which the provider sends the browser back. Providers may add parameters of their own."""

    state: Annotated[str, Meta(description="The `state` of the sign-in that this browser began")] = ""
    code: Annotated[str, Meta(description="The provider's authorization code")] | None = None
    error: Annotated[str, Meta(description="The provider's error code, sent instead of `code`")] | None = None
    iss: Annotated[str, Meta(description="The provider's issuer URL (RFC 9207)")] | None = None


class TokenResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A token for its owner. ``expires_in`` is in seconds."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"
    expires_in: int
    expires_at: datetime

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


class SignedIn(TokenResponse, frozen=True, kw_only=True):
    """A new token and the user it belongs to."""

    user: UserProfile


class SignedOut(msgspec.Struct, frozen=True, kw_only=True):
    """Confirmation that the session is over."""

    status: Literal["signed_out"] = "signed_out"


class JsonWebKeySet(msgspec.Struct, frozen=True, kw_only=True):
    """The public keys that verify this server's tokens (RFC 7517). Empty with HS256."""

    keys: list[dict[str, Any]]
