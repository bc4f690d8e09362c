"""The contract of a store: named operations on typed records, the same on every backend.

Every operation may raise Unavailable: the store can't be reached, is full or is too busy. The outcome of a
write is then unknown. Repeating it stores nothing twice; a repeated ``create`` may meet itself as Conflict,
and a repeated ``Sessions.rotate`` counts as reuse. A write that returned is durable. NotFound stands for
objects of somebody else too. ``limit`` is at least 1; a malformed ``cursor`` raises InvalidRequest.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from jan.storage.accounting import Counters, UsageLog
from jan.storage.idempotent_answers import IdempotentAnswers
from jan.storage.records import (
    AnswerProgress,
    ApiKey,
    ConversationChanges,
    ConversationRecord,
    MessageRecord,
    OidcSubject,
    Page,
    Record,
    RefreshSession,
    Rotation,
    User,
    UserChanges,
)

R = TypeVar("R", bound=Record)


class UserRepository(Protocol):
    """People, unique by e-mail address and by OpenID Connect subject."""

    async def create(self, user: User) -> None:
        """Add a user; Conflict with ``param`` email, oidc or id if there is one like that."""

    async def get(self, user_id: str) -> User:
        """The user of this id, or NotFound."""

    async def find_by_email(self, email: str) -> User | None:
        """The user of this address, whatever its case."""

    async def find_by_subject(self, subject: OidcSubject) -> User | None:
        """The user who signs in with this OpenID Connect subject."""

    async def page(self, *, limit: int, cursor: str | None = None) -> Page[User]:
        """All users, in order of creation."""

    async def update(self, user_id: str, changes: UserChanges) -> User:
        """Set what ``changes`` names and return the result; NotFound, or Conflict on a taken subject."""


class KeyRepository(Protocol):
    """API keys, found by hash."""

    async def create(self, key: ApiKey) -> None:
        """Add a key; Conflict if its hash or id is taken."""

    async def find(self, key_id: str) -> ApiKey | None:
        """The key of this id, whoever owns it: for administration."""

    async def find_by_hash(self, key_hash: str) -> ApiKey | None:
        """The key of this hash, revoked and expired ones too."""

    async def page(self, user_id: str, *, limit: int, cursor: str | None = None) -> Page[ApiKey]:
        """A user's keys, revoked ones too, in order of creation."""

    async def rename(self, user_id: str, key_id: str, name: str) -> ApiKey:
        """Give the user's key another name; NotFound."""

    async def revoke(self, user_id: str, key_id: str, at: datetime) -> ApiKey:
        """End the user's key; the time of an earlier revocation stays. NotFound."""

    async def rotate(self, user_id: str, key_id: str, replacement: ApiKey, grace_ends: datetime) -> ApiKey:
        """Put ``replacement`` beside the key, which stays good until ``grace_ends`` at the latest.

        Returns the replacement. NotFound; Conflict if the key is revoked or was replaced before.
        """

    async def touch(self, key_id: str, at: datetime) -> None:
        """Note a use; an older time and an unknown key change nothing."""


class SessionRepository(Protocol):
    """Families of refresh tokens, with reuse detected atomically."""

    async def start(self, session: RefreshSession) -> None:
        """Add a session; Conflict if its id is taken."""

    async def find(self, session_id: str) -> RefreshSession | None:
        """The session of this id, ended ones too."""

    async def rotate(
        self, session_id: str, presented_jti: str, next_jti: str, *, at: datetime, expires_at: datetime
    ) -> Rotation:
        """Replace the current token by ``next_jti`` if it is the one presented; of two at once, one wins."""

    async def end(self, session_id: str, *, at: datetime, reason: str) -> None:
        """End a session; one that has ended keeps its time and reason."""

    async def end_all(self, user_id: str, *, at: datetime, reason: str) -> int:
        """End a user's open sessions; returns how many there were."""

    async def purge(self, before: datetime) -> int:
        """Forget sessions that expired before this time; returns how many."""


class ConversationRepository(Protocol):
    """Conversations, each seen by its owner alone."""

    async def create(self, conversation: ConversationRecord) -> None:
        """Add a conversation; Conflict if its id is taken."""

    async def get(self, user_id: str, conversation_id: str) -> ConversationRecord:
        """The user's conversation of this id, or NotFound."""

    async def page(
        self, user_id: str, *, limit: int, cursor: str | None = None, title: str | None = None
    ) -> Page[ConversationRecord]:
        """The user's conversations, changed last first; ``title`` keeps those whose title contains it.

        A conversation that changes while a client pages moves to the front and may then be missed.
        """

    async def update(self, user_id: str, conversation_id: str, changes: ConversationChanges) -> ConversationRecord:
        """Set what ``changes`` names and return the result; NotFound."""

    async def give_title(self, user_id: str, conversation_id: str, title: str) -> None:
        """Set the title of a conversation without one; whoever gave it one before is not overruled."""

    async def delete(self, user_id: str, conversation_id: str) -> None:
        """Remove a conversation and all its messages; NotFound."""


class MessageRepository(Protocol):
    """Trees of messages that only grow. All operations but the last raise NotFound for another's."""

    async def append(self, user_id: str, message: MessageRecord, *, at_head: bool = False) -> MessageRecord:
        """Add a message under ``parent_id``, or with ``at_head`` under the one appended last.

        Returns it as stored, with its sequence number. The parent must be in the conversation, else
        NotFound with ``param`` parent_id. A message of an id that is stored already is not added again: the
        stored one is returned if role, content and tool calls agree, else Conflict.
        """

    async def save(
        self, user_id: str, conversation_id: str, message_id: str, progress: AnswerProgress
    ) -> MessageRecord:
        """Replace content and status of a message that is not complete; returns it as stored.

        Conflict if it is complete and differs from ``progress``.
        """

    async def get(self, user_id: str, conversation_id: str, message_id: str) -> MessageRecord:
        """One message."""

    async def page(
        self,
        user_id: str,
        conversation_id: str,
        *,
        limit: int,
        cursor: str | None = None,
        newest_first: bool = False,
    ) -> Page[MessageRecord]:
        """All branches' messages in the order in which they were appended, or the reverse. A page ends early,
        with a cursor, before it is larger than ``paging.PAGE_BYTES``; it has one message at least."""

    async def history(
        self, user_id: str, conversation_id: str, *, message_id: str | None = None, limit: int | None = None
    ) -> list[MessageRecord]:
        """The path from the root down to a message (None: the one appended last), that message included.

        ``limit`` keeps the messages nearest to it. Empty for a conversation without messages. InvalidRequest if
        they have more than ``paging.PATH_BYTES``.
        """

    async def end_stale_streams(self, before: datetime) -> int:
        """Mark as partial every streaming message not saved since ``before``: its server died."""


class Archive(Protocol):
    """Whole collections, for export and import. Requests use ``insert`` alone, to import a conversation."""

    async def count(self, kind: type[Record]) -> int:
        """How many records of this kind there are."""

    async def scan(self, kind: type[R], *, after: str, limit: int) -> list[R]:
        """Records in order of id, beginning behind ``after`` ("" is the beginning)."""

    async def matching(self, kind: type[R], ids: Sequence[str]) -> list[R]:
        """The stored records among these ids, in any order."""

    async def insert(self, kind: type[R], records: Sequence[R]) -> None:
        """Add records as they are; Conflict if one is taken, with those before it perhaps added."""


class Store(Protocol):
    """One database. Made closed; ``open`` may be called again after it failed."""

    @property
    def users(self) -> UserRepository: ...
    @property
    def keys(self) -> KeyRepository: ...
    @property
    def sessions(self) -> SessionRepository: ...
    @property
    def conversations(self) -> ConversationRepository: ...
    @property
    def messages(self) -> MessageRepository: ...
    @property
    def idempotent_answers(self) -> IdempotentAnswers: ...
    @property
    def counters(self) -> Counters: ...
    @property
    def usage(self) -> UsageLog: ...
    @property
    def archive(self) -> Archive: ...

    async def open(self) -> None:
        """Connect and bring the schema up to date.

        Raises Unavailable if the store can't be reached now, ConfigurationError if it never will as
        configured or was written by a newer version.
        """

    async def close(self) -> None:
        """Finish the writes that wait and let go of everything; operations then raise Unavailable."""

    async def ping(self) -> None:
        """Return if the store answers at this moment, else raise Unavailable."""
