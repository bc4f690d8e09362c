"""The contract of a store: named operations on typed records, the same on every backend.

Every operation may raise Unavailable: the store can't be reached, is full or is too busy. The outcome of a write
is then unknown. Repeating it stores nothing twice, but a repeated ``create`` may raise Conflict with itself, and a
repeated ``SessionRepository.rotate`` counts as reuse. A write that returned is durable. NotFound also covers
objects of other users. ``limit`` is at least 1. A malformed ``cursor`` raises InvalidRequest. An operation that
adds keys, presets, conversations or messages raises RateLimited beyond the quota of their user, and adds nothing.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from jan.storage.accounting import Counters, UsageLog
from jan.storage.archive import Archive
from jan.storage.audit import AuditLog
from jan.storage.completion_records import CompletionRepository
from jan.storage.conversation_lists import EVERYTHING, ListFilter
from jan.storage.deletions import Deletions
from jan.storage.folder_counts import FolderRepository
from jan.storage.holdings import HoldingsRepository
from jan.storage.idempotent_answers import IdempotentAnswers
from jan.storage.preset_records import PresetRepository
from jan.storage.queued_answers import QueuedAnswers
from jan.storage.records import (
    AnswerProgress,
    ApiKey,
    ConversationChanges,
    ConversationRecord,
    MessageRecord,
    OidcSubject,
    Page,
    User,
    UserChanges,
)
from jan.storage.session_records import SessionRepository
from jan.storage.share_records import ShareRepository
from jan.storage.text_search import TextSearch

#: The owner of marks that the server sets among the conversations. No user has this id.
NOBODY = ""


class UserRepository(Protocol):
    """People, unique by e-mail address and by OpenID Connect subject. Those who are deleted are not found."""

    async def create(self, user: User) -> None:
        """Add a user. Raises Conflict with ``param`` email, oidc or id if another user has the same."""

    async def get(self, user_id: str) -> User:
        """Return the user with this id. Raises NotFound."""

    async def find_by_email(self, email: str) -> User | None:
        """Return the user with this address, in upper or lower case."""

    async def find_by_subject(self, subject: OidcSubject) -> User | None:
        """Return the user who signs in with this OpenID Connect subject."""

    async def page(self, *, limit: int, cursor: str | None = None) -> Page[User]:
        """List all users in order of creation."""

    async def update(self, user_id: str, changes: UserChanges) -> User:
        """Set the fields in ``changes`` and return the result. Raises NotFound, or Conflict for a taken
        subject."""


class KeyRepository(Protocol):
    """API keys, found by their hash."""

    async def create(self, key: ApiKey) -> None:
        """Add a key. Raises Conflict if its hash or id is taken."""

    async def find(self, key_id: str) -> ApiKey | None:
        """Return the key with this id, whoever owns it. For administration."""

    async def find_by_hash(self, key_hash: str) -> ApiKey | None:
        """Return the key with this hash, even if it is revoked or has expired."""

    async def page(self, user_id: str, *, limit: int, cursor: str | None = None) -> Page[ApiKey]:
        """List a user's keys in order of creation, including revoked ones."""

    async def rename(self, user_id: str, key_id: str, name: str) -> ApiKey:
        """Rename the user's key. Raises NotFound."""

    async def revoke(self, user_id: str, key_id: str, at: datetime) -> ApiKey:
        """Revoke the user's key. An earlier revocation keeps its time. Raises NotFound."""

    async def rotate(self, user_id: str, key_id: str, replacement: ApiKey, grace_ends: datetime) -> ApiKey:
        """Add ``replacement`` beside the key, which stays valid until ``grace_ends`` at the latest.

        Returns the replacement. Raises NotFound, or Conflict if the key is revoked or already replaced.
        """

    async def touch(self, key_id: str, at: datetime) -> None:
        """Record a use of the key. An older time or an unknown key changes nothing."""


class ConversationRepository(Protocol):
    """Conversations, each visible to its owner only."""

    async def create(self, conversation: ConversationRecord) -> None:
        """Add a conversation. Raises Conflict if its id is taken, or its user has one of the same origin."""

    async def get(self, user_id: str, conversation_id: str) -> ConversationRecord:
        """Return the user's conversation with this id. Raises NotFound."""

    async def known_origins(self, user_id: str, origins: Sequence[str]) -> set[str]:
        """Return which of these origins the user's conversations have."""

    async def page(
        self, user_id: str, *, limit: int, cursor: str | None = None, among: ListFilter = EVERYTHING
    ) -> Page[ConversationRecord]:
        """List the user's conversations, the last changed first.

        A conversation that changes while a client pages moves to the front, where this client may miss it.
        """

    async def update(self, user_id: str, conversation_id: str, changes: ConversationChanges) -> ConversationRecord:
        """Set the fields in ``changes`` and return the result. Raises NotFound."""

    async def give_title(self, user_id: str, conversation_id: str, title: str) -> None:
        """Set the title of a conversation that has none. An existing title is never overwritten."""

    async def delete(self, user_id: str, conversation_id: str) -> None:
        """Remove a conversation and all its messages. Raises NotFound."""

    async def unnamed(self, before: datetime, limit: int) -> list[ConversationRecord]:
        """Return ``unnamed`` conversations of all users that did not change since ``before``, oldest first."""


class MessageRepository(Protocol):
    """Trees of messages that only grow. Operations of a user raise NotFound for another user's
    conversation."""

    async def append(self, user_id: str, message: MessageRecord, *, at_head: bool = False) -> MessageRecord:
        """Add a message under ``parent_id`` or, with ``at_head``, under the message appended last.

        Returns the message as stored, with its sequence number. Raises NotFound with ``param`` parent_id if the
        parent is not in the conversation. A message whose id is already stored is not added again: the stored one
        is returned if role, content and tool calls agree. Otherwise raises Conflict.
        """

    async def append_all(self, user_id: str, messages: Sequence[MessageRecord], *, at_head: bool = False) -> None:
        """Add messages of one conversation, each under its ``parent_id``, all of them or none.

        The parent of the first is in the conversation; raises NotFound with ``param`` parent_id if it is not.
        With ``at_head`` it is the message appended last.
        Each of the others may have one of those before it as its parent. Raises Conflict with ``param`` id if one
        of the ids is taken.
        """

    async def save(
        self, user_id: str, conversation_id: str, message_id: str, progress: AnswerProgress
    ) -> MessageRecord:
        """Replace content and status of a message that is not complete; return it as stored.

        Raises Conflict if the message is complete and differs from ``progress``.
        """

    async def empty(self, user_id: str, conversation_id: str, message_ids: Sequence[str]) -> None:
        """Remove the content of messages, and keep their places in the tree. Unknown ids are ignored."""

    async def get(self, user_id: str, conversation_id: str, message_id: str) -> MessageRecord:
        """Return one message by its id."""

    async def page(
        self,
        user_id: str,
        conversation_id: str,
        *,
        limit: int,
        cursor: str | None = None,
        newest_first: bool = False,
    ) -> Page[MessageRecord]:
        """List the messages of all branches in the order in which they were appended, or in reverse.

        A page ends early, with a cursor, before it exceeds ``paging.PAGE_BYTES``. It has at least one message.
        """

    async def history(
        self, user_id: str, conversation_id: str, *, message_id: str | None = None, limit: int | None = None
    ) -> list[MessageRecord]:
        """Return the path from the root down to a message and including it; None is the message appended last.

        ``limit`` keeps the messages nearest to it. The path is empty for a conversation without messages. Raises
        InvalidRequest if the path exceeds ``paging.PATH_BYTES``.
        """

    async def end_stale_streams(self, before: datetime) -> int:
        """Mark as partial every streaming message not saved since ``before``. The server that wrote it died.

        Answers in the queue stay: whoever claims one goes on with it.
        """

    async def conversation_ids(self, *, after: str, limit: int) -> list[str]:
        """Return ids of conversations that messages name, in order, beginning after ``after``. The list is empty
        only at the end."""

    async def delete_orphans(self, conversation_ids: Sequence[str]) -> int:
        """Remove the messages of those of these conversations that are not there; return their number."""


class Store(Protocol):
    """One database, made closed. ``open`` may be called again after it failed."""

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
    def folders(self) -> FolderRepository: ...
    @property
    def completions(self) -> CompletionRepository: ...
    @property
    def shares(self) -> ShareRepository: ...
    @property
    def queued_answers(self) -> QueuedAnswers: ...
    @property
    def presets(self) -> PresetRepository: ...
    @property
    def idempotent_answers(self) -> IdempotentAnswers: ...
    @property
    def counters(self) -> Counters: ...
    @property
    def usage(self) -> UsageLog: ...
    @property
    def audit(self) -> AuditLog: ...
    @property
    def holdings(self) -> HoldingsRepository: ...
    @property
    def deletions(self) -> Deletions: ...
    @property
    def search(self) -> TextSearch: ...
    @property
    def archive(self) -> Archive: ...

    async def open(self) -> None:
        """Connect and bring the schema up to date. Raises Unavailable if the store can't be reached now, and
        ConfigurationError if it never can be as configured, or if a newer version wrote it."""

    async def close(self) -> None:
        """Finish pending writes and release all resources. Operations then raise Unavailable."""

    async def ping(self) -> None:
        """Return if the store answers now. Raises Unavailable otherwise."""
