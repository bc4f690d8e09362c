"""What the store keeps: frozen, typed records, the same for every backend.

All times are UTC and whole milliseconds (MongoDB keeps no more), enforced when a record is made, so that
a record read back equals the record that was written.
"""

import re
import secrets
import time
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from jan.schema.limits import TokenBudget

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
POSITION = re.compile(r"[0-9a-f]{12}\.[!-~]{1,200}")

Role = Literal["user", "admin"]
MessageRole = Literal["system", "developer", "user", "assistant", "tool"]
MessageStatus = Literal["streaming", "partial", "complete"]
JsonObject = dict[str, Any]
"""A part of a message as its client sent it; the store keeps it and never looks inside."""


def to_milliseconds(moment: datetime) -> datetime:
    """The moment in UTC, cut to whole milliseconds. A naive datetime raises ValueError."""
    if moment.tzinfo is None:
        raise ValueError("a stored time needs a time zone")
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def milliseconds(moment: datetime) -> int:
    """Whole milliseconds since 1970; exact, as a float's would not be."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def now() -> datetime:
    """The current time as the store keeps it."""
    return to_milliseconds(datetime.now(UTC))


def new_id(prefix: str) -> str:
    """A new identifier: prefix, milliseconds since 1970 in hex, 80 random bits; sorts by time of making."""
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


def fold(text: str) -> str:
    """The form in which titles are compared: case and compatibility variants make no difference."""
    return unicodedata.normalize("NFKC", text).casefold().replace("\0", "")


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One stored document. ``id`` is unique in its collection and sorts by time of creation."""

    id: str

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, datetime):
                msgspec.structs.force_setattr(self, name, to_milliseconds(value))


class OidcSubject(msgspec.Struct, frozen=True):
    """Who somebody is at an OpenID Connect provider: stable, unlike an e-mail address."""

    issuer: str
    subject: str


class User(Record, frozen=True, kw_only=True):
    """A person. ``email`` is unique, in lower case; sessions begun before ``valid_after`` are void.
    ``tokens_per_minute``, ``tokens_per_day``: what this user may use otherwise than as configured."""

    id: str = msgspec.field(default_factory=lambda: new_id("user"))
    email: str
    name: str = ""
    role: Role = "user"
    disabled: bool = False
    created_at: datetime = msgspec.field(default_factory=now)
    valid_after: datetime | None = None
    oidc: OidcSubject | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None

    @property
    def budget(self) -> TokenBudget:
        """What this user may use otherwise than as configured."""
        return TokenBudget(tokens_per_minute=self.tokens_per_minute, tokens_per_day=self.tokens_per_day)

    def __post_init__(self) -> None:
        super().__post_init__()
        msgspec.structs.force_setattr(self, "email", self.email.strip().lower())


class UserChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What an update sets; a field left out stays as it is."""

    name: str | UnsetType = UNSET
    role: Role | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    valid_after: datetime | UnsetType | None = UNSET
    oidc: OidcSubject | UnsetType | None = UNSET
    tokens_per_minute: int | UnsetType | None = UNSET
    tokens_per_day: int | UnsetType | None = UNSET


class ApiKey(Record, frozen=True, kw_only=True):
    """A key to the API, of which only ``hash`` and the recognisable ``prefix`` are kept.

    A rotated key names its successor in ``replaced_by`` and works until ``expires_at``, the end of its grace.
    """

    id: str = msgspec.field(default_factory=lambda: new_id("key"))
    user_id: str
    name: str
    prefix: str
    hash: str
    permissions: tuple[str, ...] = ()
    created_at: datetime = msgspec.field(default_factory=now)
    last_used_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    replaced_by: str | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None

    @property
    def budget(self) -> TokenBudget:
        """What this key may use otherwise than as configured."""
        return TokenBudget(tokens_per_minute=self.tokens_per_minute, tokens_per_day=self.tokens_per_day)

    def is_live(self, at: datetime) -> bool:
        """Whether the key opens anything at this time."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


class RefreshSession(Record, frozen=True, kw_only=True):
    """A family of refresh tokens: only the newest (``current_jti``) is good; an older one ends them all."""

    id: str = msgspec.field(default_factory=lambda: new_id("sess"))
    user_id: str
    current_jti: str
    created_at: datetime = msgspec.field(default_factory=now)
    last_used_at: datetime = msgspec.field(default_factory=now)
    expires_at: datetime
    ended_at: datetime | None = None
    reason: str | None = None


class Rotation(msgspec.Struct, frozen=True):
    """What came of presenting a refresh token; ``session`` is its state afterwards, None when unknown.

    rotated: the token was current and is now replaced. reused: it was not current, so the session was ended.
    ended, expired: the session was over before.
    """

    outcome: Literal["rotated", "reused", "ended", "expired", "unknown"]
    session: RefreshSession | None = None


class ConversationRecord(Record, frozen=True, kw_only=True):
    """A tree of messages with one owner.

    ``head_id`` is the message appended last and ``message_count`` its sequence number; both are set by
    appending, as is ``updated_at``.
    """

    id: str = msgspec.field(default_factory=lambda: new_id("conv"))
    user_id: str
    title: str = ""
    model: str | None = None
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    created_at: datetime = msgspec.field(default_factory=now)
    updated_at: datetime = msgspec.field(default_factory=now)
    head_id: str | None = None
    message_count: int = 0

    @property
    def position(self) -> str:
        """Where a list by time of change puts it: one string to index, to compare and to page by."""
        return f"{milliseconds(self.updated_at):012x}.{self.id}"


class ConversationChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What an update sets; a field left out stays as it is."""

    title: str | UnsetType = UNSET
    model: str | UnsetType | None = UNSET
    metadata: dict[str, str] | UnsetType = UNSET


class TokenUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens that an answer took."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


class MessageRecord(Record, frozen=True, kw_only=True):
    """One message, a node of its conversation's tree; ``parent_id`` None is a root.

    ``sequence`` is given by the store when it is appended: 1, 2, 3... without gaps in a conversation, and
    always higher than the parent's. An answer begins as ``streaming``; ``partial`` was cut short.
    """

    id: str = msgspec.field(default_factory=lambda: new_id("msg"))
    conversation_id: str
    parent_id: str | None = None
    role: MessageRole
    content: str | list[JsonObject] | None
    tool_calls: list[JsonObject] | None = None
    tool_call_id: str | None = None
    status: MessageStatus = "complete"
    model: str | None = None
    finish_reason: str | None = None
    usage: TokenUsage | None = None
    created_at: datetime = msgspec.field(default_factory=now)
    updated_at: datetime = msgspec.field(default_factory=now)
    sequence: int = 0


class AnswerProgress(msgspec.Struct, frozen=True, kw_only=True):
    """The answer so far, or all of it: replaces what a message that is not yet complete holds."""

    content: str | list[JsonObject] | None
    status: MessageStatus
    tool_calls: list[JsonObject] | None = None
    finish_reason: str | None = None
    usage: TokenUsage | None = None


class Page(msgspec.Struct, Generic[T], frozen=True):
    """A part of a list; ``next_cursor`` fetches the part after it and is None on the last one."""

    items: list[T]
    next_cursor: str | None = None
