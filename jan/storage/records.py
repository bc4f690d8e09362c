"""The records that the store keeps: frozen, typed, and the same for every backend.

All times are UTC in whole milliseconds, because MongoDB keeps no more. A record enforces this when it is made, so
a record that is read back equals the one that was written.
"""

import re
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from jan.engine.generation_events import Failed
from jan.routing.moved import old_names_of
from jan.schema.email_address import ascii_lower
from jan.schema.limits import KeyAccount, TokenBudget
from jan.schema.stored_items import Itemised, JsonObject, StoredItems

if not TYPE_CHECKING:
    __getattr__ = old_names_of(__name__)

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
POSITION = re.compile(r"[0-9a-f]{12}\.[!-~]{1,200}")

Role = Literal["user", "admin"]
MessageRole = Literal["system", "developer", "user", "assistant", "tool"]
MessageStatus = Literal["streaming", "partial", "complete", "failed"]


def to_milliseconds(moment: datetime) -> datetime:
    """Convert a moment to UTC and cut it to whole milliseconds. Raises ValueError for a naive datetime."""
    if moment.tzinfo is None:
        raise ValueError("A stored time needs a time zone.")
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def milliseconds(moment: datetime) -> int:
    """Return whole milliseconds since 1970, computed in integers because floats would round."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def now() -> datetime:
    """Return the current time at the store's precision."""
    return to_milliseconds(datetime.now(UTC))


def new_id(prefix: str) -> str:
    """Make an identifier that sorts by creation time: prefix, milliseconds since 1970 in hex, 80 random bits."""
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One stored document. ``id`` is unique in its collection and sorts by time of creation."""

    id: str

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, datetime):
                msgspec.structs.force_setattr(self, name, to_milliseconds(value))


class OidcSubject(msgspec.Struct, frozen=True):
    """The stable identity of a person at an OpenID Connect provider. An e-mail address may change."""

    issuer: str
    subject: str


class User(Record, frozen=True, kw_only=True):
    """A person who uses the server.

    ``email`` is unique, its ASCII letters in lower case. Sessions that began before ``valid_after`` are void.
    ``tokens_per_minute`` and ``tokens_per_day`` override the configured budgets for this user. ``deleted_at`` is
    set while what a deleted user stored is removed, see ``deletions``.
    """

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
    deleted_at: datetime | None = None

    @property
    def budget(self) -> TokenBudget:
        """The user's own token budget, which overrides the configured one."""
        return TokenBudget(tokens_per_minute=self.tokens_per_minute, tokens_per_day=self.tokens_per_day)

    def __post_init__(self) -> None:
        super().__post_init__()
        msgspec.structs.force_setattr(self, "email", ascii_lower(self.email.strip()))


class UserChanges(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that an update sets. Fields left out stay as they are."""

    name: str | UnsetType = UNSET
    role: Role | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    valid_after: datetime | UnsetType | None = UNSET
    oidc: OidcSubject | UnsetType | None = UNSET
    tokens_per_minute: int | UnsetType | None = UNSET
    tokens_per_day: int | UnsetType | None = UNSET


class ApiKey(Record, frozen=True, kw_only=True):
    """A key to the API. Only its ``hash`` and its recognisable ``prefix`` are kept.

    A rotated key names its successor in ``replaced_by`` and works until ``expires_at``, the end of its grace
    period. ``created_by`` is the key or session that made it; None if the command line did. ``charged_to`` names
    the keys whose budgets it is charged to, its own account first; empty: only its own.
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
    created_by: str | None = None
    charged_to: tuple[KeyAccount, ...] = ()

    @property
    def budget(self) -> TokenBudget:
        """The key's own token budget, which overrides the configured one."""
        return TokenBudget(tokens_per_minute=self.tokens_per_minute, tokens_per_day=self.tokens_per_day)

    @property
    def accounts(self) -> tuple[KeyAccount, ...]:
        """The accounts that the key's tokens are charged to, its own first."""
        return self.charged_to or (KeyAccount(id=self.id, budget=self.budget),)

    def is_live(self, at: datetime) -> bool:
        """Return True if the key is accepted at this time."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


def origin_key(user_id: str, origin: str) -> str:
    """Join a user and an origin. An id has no blank."""
    return f"{user_id} {origin}"


class ConversationRecord(Record, frozen=True, kw_only=True):
    """A tree of messages with one owner.

    ``head_id`` is the message appended last and ``message_count`` its sequence number. Appending a message sets
    both, and ``updated_at``. ``message_bytes``: bytes of all messages as JSON, as far as they are counted.
    ``unnamed``: it was made for responses that named no conversation, and nobody has named it since.
    ``origin``: the application that it was imported from, and its id there; unique for its owner.
    ``folder``: the name of the folder that its owner has put it into; "" for none.
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
    message_bytes: int = 0
    unnamed: bool = False
    origin: str | None = None
    pinned: bool = False
    archived: bool = False
    folder: str = ""

    @property
    def origin_key(self) -> str | None:
        """Its owner and origin in one text, so that an index can keep a user from importing it twice."""
        return None if self.origin is None else origin_key(self.user_id, self.origin)

    @property
    def position(self) -> str:
        """The sort key of lists by time of change: one string to index, compare and page by."""
        return f"{milliseconds(self.updated_at):012x}.{self.id}"


class ConversationChanges(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that an update sets. Fields left out stay as they are."""

    title: str | UnsetType = UNSET
    model: str | UnsetType | None = UNSET
    metadata: dict[str, str] | UnsetType = UNSET
    unnamed: bool | UnsetType = UNSET
    pinned: bool | UnsetType = UNSET
    archived: bool | UnsetType = UNSET
    folder: str | UnsetType = UNSET

    @property
    def only_sorts(self) -> bool:
        """True if nothing of the conversation changes but its place among others. Its time of change stays."""
        sorts = {self.pinned, self.archived, self.folder} != {UNSET}
        return sorts and (self.title, self.model, self.metadata) == (UNSET, UNSET, UNSET)


class TokenUsage(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of tokens that an answer used."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


class MessageRecord(Record, Itemised, frozen=True, kw_only=True):
    """One message, a node of its conversation's tree. A root has no ``parent_id``.

    The store assigns ``sequence`` when the message is appended: 1, 2, 3 and so on without gaps in a conversation,
    always higher than the parent's. An answer begins as ``streaming``. An answer that was cut short ends as
    ``partial``, or as ``failed`` if it has not even a first token. ``failure``: the error that cut it short; None
    if its client or its server left. ``items``: all that it says, in order.
    ``response``: what an API needs to show an answer as its client asked for it; ``{"emptied": true}`` for a
    message whose content was deleted.
    """

    id: str = msgspec.field(default_factory=lambda: new_id("msg"))
    conversation_id: str
    parent_id: str | None = None
    role: MessageRole
    items: StoredItems
    response: JsonObject | None = None
    status: MessageStatus = "complete"
    model: str | None = None
    finish_reason: str | None = None
    failure: Failed | None = None
    usage: TokenUsage | None = None
    created_at: datetime = msgspec.field(default_factory=now)
    updated_at: datetime = msgspec.field(default_factory=now)
    sequence: int = 0

    @property
    def completion_of(self) -> str | None:
        """The user whose stored chat completion it is."""
        return None if self.response is None else self.response.get("completion_of")

    @property
    def is_emptied(self) -> bool:
        """True if the content was deleted, and only the place in the tree is left."""
        return self.response is not None and "emptied" in self.response

    def next_change(self, at: datetime) -> datetime:
        """Return the time of a change then, or just after the last one: no two texts have the same time."""
        return max(at, self.updated_at + timedelta(milliseconds=1))


class AnswerProgress(msgspec.Struct, frozen=True, kw_only=True):
    """The answer so far, or all of it. Replaces the items of a message that is not yet complete."""

    items: StoredItems
    status: MessageStatus
    finish_reason: str | None = None
    failure: Failed | None = None
    usage: TokenUsage | None = None


class Page(msgspec.Struct, Generic[T], frozen=True):
    """A part of a list. ``next_cursor`` fetches the following part and is None on the last page."""

    items: list[T]
    next_cursor: str | None = None
