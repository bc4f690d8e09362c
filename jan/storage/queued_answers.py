"""Contract of the queue of answers that are made in the background, and of the leases of those under way.

Whoever works on an answer holds it until a time, and extends that time while it lives. What nobody holds any more
is claimed by somebody else. A holder that lost its lease, without knowing it, can store nothing: ``save`` asks who
holds the answer, in the transaction on SQLite and by a field of the message on MongoDB.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from jan.errors import Conflict, RateLimited, Unavailable, retry_headers
from jan.schema.scopes import Scope
from jan.schema.stored_items import JsonObject
from jan.storage.records import MessageRecord, Record, TokenUsage, now

#: The end of a lease that nobody has.
NOT_HELD = datetime(1970, 1, 1, tzinfo=UTC)
_RETRY_MILLISECONDS = 5000


class QueuedAnswer(Record, frozen=True, kw_only=True):
    """An answer that is to be made, or is being made. It has the id of its message.

    ``request``: what the API ``api`` was asked for, without the messages, which are stored. ``route``: the route
    that was asked. ``key_id``, ``session_id``, ``issued_at``: the credential, as in an Identity. ``needs``: the
    permissions that it must have. ``holder``: the process that works on it, until ``held_until``. ``charged``: the
    tokens of it that are accounted for already.
    """

    user_id: str
    conversation_id: str
    api: str
    route: str = ""
    request: JsonObject
    key_id: str | None = None
    session_id: str | None = None
    issued_at: datetime | None = None
    needs: tuple[Scope, ...] = ()
    created_at: datetime = msgspec.field(default_factory=now)
    holder: str = ""
    held_until: datetime = NOT_HELD
    charged: TokenUsage | None = None


class QueueRoom(msgspec.Struct, frozen=True, kw_only=True):
    """The most answers in the queue, those that are being made included: of all users, and of one."""

    all_users: int
    each_user: int

    def check(self, of_all: int, of_user: int) -> None:
        """Raise Unavailable or RateLimited if there is no room beside this many."""
        if of_all >= self.all_users:
            raise Unavailable(
                f"The queue of background responses is full: it has {self.all_users}. Try again later.",
                code="background_queue_full",
                headers=retry_headers(_RETRY_MILLISECONDS),
            )
        if of_user >= self.each_user:
            raise RateLimited(
                f"{self.each_user} of your background responses wait or are made, and no more are allowed. Wait "
                "for one to end, or cancel one.",
                code="too_many_background_responses",
                headers=retry_headers(_RETRY_MILLISECONDS),
            )


class QueueLength(msgspec.Struct, frozen=True):
    """The number of answers in the queue, and of those among them that somebody holds."""

    all: int
    held: int


class QueuedAnswers(Protocol):
    """The answers of all users that are made in the background, until they have ended."""

    async def add(self, answer: QueuedAnswer, room: QueueRoom) -> None:
        """Add an answer. Raises Unavailable or RateLimited without room, and Conflict for a taken id."""

    async def find(self, answer_id: str) -> QueuedAnswer | None:
        """Return the answer with this id, None once it has ended."""

    async def claim(
        self, holder: str, until: datetime, at: datetime, not_of: Sequence[str] = ()
    ) -> QueuedAnswer | None:
        """Hold the oldest answer that nobody holds ``at`` this time, and return it; None if there is none.

        ``not_of``: users whose answers are left out.
        """

    async def seize(self, answer_id: str, holder: str, until: datetime) -> QueuedAnswer | None:
        """Hold an answer, whoever held it, and return it; None if it has ended."""

    async def extend(self, holder: str, until: datetime) -> list[str]:
        """Extend all leases of a holder. Return the ids of what it holds."""

    async def release(self, answer: QueuedAnswer, until: datetime = NOT_HELD) -> None:
        """Let go of an answer, and keep what of it was ``charged``. It can be claimed after ``until``.

        Nothing changes if somebody else holds it.
        """

    async def remove(self, answer_id: str, holder: str) -> bool:
        """Remove an answer that has ended; False if this holder does not hold it any more."""

    async def save(self, holder: str, message: MessageRecord) -> None:
        """Replace the content of an answer's message.

        Raises NotFound if the message is not there any more, and Conflict if somebody else holds the answer, or if
        the message is complete.
        """

    async def length(self) -> QueueLength:
        """Count the answers in the queue."""


def held_by(answer: QueuedAnswer, holder: str, until: datetime) -> QueuedAnswer:
    """Return the answer as held by somebody."""
    return msgspec.structs.replace(answer, holder=holder, held_until=until)


def let_go(answer: QueuedAnswer, until: datetime) -> QueuedAnswer:
    """Return the answer as held by nobody. It can be claimed after ``until``."""
    return msgspec.structs.replace(answer, holder="", held_until=until)


def with_content(stored: MessageRecord, message: MessageRecord) -> MessageRecord:
    """Return a stored message with the content of ``message``. Raises Conflict if it is complete."""
    if stored.status == "complete":
        raise lost(message.id)
    return msgspec.structs.replace(
        stored,
        items=message.items,
        response=message.response,
        status=message.status,
        finish_reason=message.finish_reason,
        usage=message.usage,
        updated_at=stored.next_change(message.updated_at),
    )


def lost(answer_id: str) -> Conflict:
    """Make the error for an answer that somebody else holds now, or that has ended."""
    return Conflict(f"The answer {answer_id} is not held any more.", code="lease_lost")
