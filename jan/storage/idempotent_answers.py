"""Contract of the stored answers that let a repeated request be carried out only once."""

from datetime import UTC, datetime
from typing import Protocol

import msgspec

from jan.storage.records import Record

# Start time of an attempt with an unknown end. It is old enough for the next attempt to take over.
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class IdempotentAnswer(Record, frozen=True, kw_only=True):
    """A request with an Idempotency-Key, and its answer once there is one.

    ``id`` is derived from the caller, the operation and the key; ``fingerprint`` from the request itself.
    ``attempt`` is random and identifies the attempt that began, or last showed that it is under way, at
    ``begun_at``. ``first_at`` is
    when the first attempt began. Attempts derive their ids and secrets from ``seed``. Seed and answer are
    encrypted, so the store can't read them. ``about`` is the conversation that the answer is about, if any.
    ``user_id`` is None for a caller known only by address.
    """

    fingerprint: str
    attempt: str
    begun_at: datetime
    first_at: datetime
    seed: bytes
    answer: bytes | None = None
    about: str | None = None
    user_id: str | None = None


def replaces(
    stored: IdempotentAnswer, request: IdempotentAnswer, abandoned_before: datetime
) -> IdempotentAnswer | None:
    """Return the record that a new attempt stores in place of ``stored``.

    It continues the stored request, or begins anew if the new request differs. None if the stored one is answered
    or still under way.
    """
    if stored.answer is not None or stored.begun_at >= abandoned_before:
        return None
    if stored.fingerprint != request.fingerprint:
        return request
    return msgspec.structs.replace(request, first_at=stored.first_at, seed=stored.seed)


class IdempotentAnswers(Protocol):
    """Requests that are carried out only once, however often they are sent."""

    async def begin(self, request: IdempotentAnswer, *, abandoned_before: datetime) -> IdempotentAnswer:
        """Claim the id and return the request that holds it now.

        The caller must carry the request out if the returned ``attempt`` is the one it passed. A request without
        an answer that began before ``abandoned_before`` lost its server. The caller then takes it over with its
        ``first_at`` and ``seed``.
        """

    async def renew(self, request: IdempotentAnswer, at: datetime) -> None:
        """Note that this attempt was still under way at a time. Does nothing if it is answered, or no longer the
        latest attempt."""

    async def finish(self, request: IdempotentAnswer) -> None:
        """Store the answer of this attempt. Does nothing if another attempt has taken the request over."""

    async def release(self, request: IdempotentAnswer) -> None:
        """Let the next attempt begin and continue this one, whose outcome is unknown."""

    async def forget(self, request: IdempotentAnswer) -> None:
        """Forget the request of this attempt, which changed nothing, so that its key is free again."""

    async def forget_about(self, conversation_id: str) -> None:
        """Forget the requests whose answers are about a conversation."""

    async def purge(self, before: datetime) -> int:
        """Forget requests whose first attempt began before this time; return their number."""
