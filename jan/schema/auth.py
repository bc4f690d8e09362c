"""Tokens, sessions and sign-in. Times are UTC."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jan.schema.shares import SharingOffer
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


class BrowserSignIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sign-in of a browser with ``credential``, an API key or a token, or with ``code``, that of a link."""

    credential: Annotated[str, Meta(min_length=1, max_length=4096)] | UnsetType = UNSET
    code: Annotated[str, Meta(min_length=1, max_length=128)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if (self.credential is UNSET) == (self.code is UNSET):
            raise ValueError("Exactly one of `credential` and `code` is needed.")

    def __repr__(self) -> str:
        return "BrowserSignIn(...)"


class BrowserSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session that has begun in a browser, which has its token in a cookie."""

    id: str
    object: Literal["session"] = "session"
    expires_at: datetime
    user: UserProfile


class BrowserState(msgspec.Struct, frozen=True, kw_only=True):
    """Who is signed in in a browser: null for nobody. ``provider``: people can sign in at /auth/google.

    ``sharing``: users can make links to their conversations; null if they can't.
    """

    object: Literal["browser"] = "browser"
    session: BrowserSession | None
    provider: bool
    sharing: SharingOffer | None = None


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A session of a user. ``kind``: a browser has it in a ``cookie``, or a program has its ``token``.

    ``device`` is what the program said of itself, '' for nothing. ``key_id``: the API key that the session was
    begun with, and ends with. ``current``: the request belongs to this session.
    """

    id: str
    object: Literal["session"] = "session"
    kind: Literal["token", "cookie"]
    device: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    key_id: str | None
    current: bool


class SessionList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the sessions of a user that have not ended, in order of creation."""

    object: Literal["list"] = "list"
    data: list[SessionInfo]
    has_more: bool
    next_cursor: str | None


class SignedOut(msgspec.Struct, frozen=True, kw_only=True):
    """Confirmation that the session is over."""

    status: Literal["signed_out"] = "signed_out"


class JsonWebKeySet(msgspec.Struct, frozen=True, kw_only=True):
    """The public keys that verify this server's tokens (RFC 7517). Empty with HS256."""

    keys: list[dict[str, Any]]
