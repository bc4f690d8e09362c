"""Users, their profiles and their API keys. Times are UTC."""

from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jan.schema.email_address import EMAIL
from jan.schema.limits import TokenBudget, Tokens
from jan.schema.plain_text import NAME, NAME_OR_NOTHING
from jan.schema.scopes import Scope

DisplayName = Annotated[str, Meta(min_length=1, max_length=200, pattern=NAME)]
Email = Annotated[str, Meta(pattern=EMAIL, max_length=320)]
AwareTime = Annotated[datetime, Meta(tz=True)]


class UserProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A user, as seen by that user and by administrators. ``tokens_per_minute`` and ``tokens_per_day`` are set if
    an administrator gave this user a budget."""

    id: str
    object: Literal["user"] = "user"
    email: str
    name: str
    role: Literal["user", "admin"]
    disabled: bool
    created_at: datetime
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None


class ProfileChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields that users may change of their own profile."""

    name: DisplayName


class NewUser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user created by an administrator."""

    email: Email
    name: Annotated[str, Meta(max_length=200, pattern=NAME_OR_NOTHING)] = ""
    role: Literal["user", "admin"] = "user"


class UserUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields that an administrator may change. Fields left out stay as they are. A budget of null restores the
    server's default."""

    name: DisplayName | UnsetType = UNSET
    role: Literal["user", "admin"] | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    tokens_per_minute: Tokens | UnsetType | None = UNSET
    tokens_per_day: Tokens | UnsetType | None = UNSET


class UserList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of all users, in order of creation."""

    object: Literal["list"] = "list"
    data: list[UserProfile]
    has_more: bool
    next_cursor: str | None


class UserDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The confirmation that a user is gone, with all that was theirs."""

    id: str
    object: Literal["user.deleted"] = "user.deleted"
    deleted: Literal[True] = True


class NewApiKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An API key to create. It can't exceed the permissions, end and budget of the credentials that create it.
    The permission ``keys`` lets it manage other keys of its user."""

    name: DisplayName
    permissions: Annotated[list[Scope], Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: ["read", "write", "inference"]
    )
    expires_at: AwareTime | None = None
    tokens_per_minute: Tokens | None = None
    tokens_per_day: Tokens | None = None

    @property
    def budget(self) -> TokenBudget:
        """The key's own token budget. None means the server's default."""
        return TokenBudget(tokens_per_minute=self.tokens_per_minute, tokens_per_day=self.tokens_per_day)

    def __post_init__(self) -> None:
        try:
            _ = self.expires_at and self.expires_at.astimezone(UTC)
        except OverflowError:
            raise ValueError(
                "The time in `expires_at` is out of range; allowed: the years 1 to 9999 in UTC."
            ) from None


class ApiKeyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its secret. ``prefix`` helps to recognise it. ``created_by`` is the id of the key or session
    that made it, null for the command line."""

    id: str
    object: Literal["api_key"] = "api_key"
    name: str
    prefix: str
    permissions: list[str]
    created_at: datetime
    last_used_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    replaced_by: str | None = None
    created_by: str | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None


class CreatedApiKey(ApiKeyInfo, frozen=True, kw_only=True):
    """A new key with its secret, which is shown only once."""

    key: str

    def __repr__(self) -> str:
        return f"CreatedApiKey(id={self.id!r})"


class ApiKeyList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a user's keys, in order of creation."""

    object: Literal["list"] = "list"
    data: list[ApiKeyInfo]
    has_more: bool
    next_cursor: str | None


class ApiKeyChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of a key that can be changed."""

    name: DisplayName


class KeyRotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to rotate a key. ``grace_seconds``: how long the old key still works; 0 ends it at once. Default and
    most: the server's `auth.key_rotation_grace_seconds`."""

    grace_seconds: Annotated[float, Meta(ge=0)] | None = None


class RevokeQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a revocation."""

    cascade: Annotated[
        bool, Meta(description="Revoke the keys that this one made, and those that they made, too")
    ] = False
