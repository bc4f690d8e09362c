"""Users, their profile and their API keys. Times are UTC."""

from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jan.schema.limits import TokenBudget, Tokens
from jan.schema.scopes import Scope

DisplayName = Annotated[str, Meta(min_length=1, max_length=200)]
Email = Annotated[str, Meta(pattern=r"^[^@\s]+@[^@\s]+(?!\n)$", max_length=320)]
AwareTime = Annotated[datetime, Meta(tz=True)]


class UserProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A user, as seen by that user and by administrators. ``tokens_per_minute``, ``tokens_per_day``: where an
    administrator gave this user a budget of their own."""

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
    """What a user may change."""

    name: DisplayName


class NewUser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user made by an administrator."""

    email: Email
    name: Annotated[str, Meta(max_length=200)] = ""
    role: Literal["user", "admin"] = "user"


class UserUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an administrator may change; a field left out stays as it is. A budget that is null is the server's
    default again."""

    name: DisplayName | UnsetType = UNSET
    role: Literal["user", "admin"] | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    tokens_per_minute: Tokens | UnsetType | None = UNSET
    tokens_per_day: Tokens | UnsetType | None = UNSET


class UserList(msgspec.Struct, frozen=True, kw_only=True):
    """All users, in order of creation."""

    object: Literal["list"] = "list"
    data: list[UserProfile]


class NewApiKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to make; it can do no more than the credentials that make it."""

    name: DisplayName
    permissions: Annotated[list[Scope], Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: ["read", "write", "inference"]
    )
    expires_at: AwareTime | None = None
    tokens_per_minute: Tokens | None = None
    tokens_per_day: Tokens | None = None

    @property
    def budget(self) -> TokenBudget:
        """What the key may use; None is the server's default."""
        return TokenBudget(tokens_per_minute=self.tokens_per_minute, tokens_per_day=self.tokens_per_day)

    def __post_init__(self) -> None:
        try:
            _ = self.expires_at and self.expires_at.astimezone(UTC)
        except OverflowError:
            raise ValueError("expires_at must be within the years 1 to 9999 of UTC") from None


class ApiKeyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its secret; ``prefix`` is how to recognise it."""

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
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None


class CreatedApiKey(ApiKeyInfo, frozen=True, kw_only=True):
    """A new key with its secret, which is shown this once."""

    key: str

    def __repr__(self) -> str:
        return f"CreatedApiKey(id={self.id!r})"


class ApiKeyList(msgspec.Struct, frozen=True, kw_only=True):
    """A user's keys, in order of creation."""

    object: Literal["list"] = "list"
    data: list[ApiKeyInfo]


class ApiKeyChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be changed of a key."""

    name: DisplayName
