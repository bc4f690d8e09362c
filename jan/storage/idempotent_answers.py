"""What the store keeps so that a request sent twice is carried out once."""

from datetime import UTC, datetime
from typing import Protocol

import msgspec

from jan.storage.records import Record

# When an attempt began whose end nobody knows: so long ago that the next one may begin.
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class IdempotentAnswer(Record, frozen=True, kw_only=True):
    """A request with an Idempotency-Key, and its answer once there is one.

    ``id`` is made of whose it is, which operation, and the key; ``fingerprint`` of what was asked.
    ``attempt`` is random and names who carries it out, since ``begun_at``; ``first_at`` is when the first
    attempt began. ``seed`` is what its attempts make their ids and secrets of. Seed and answer are sealed: the
    store can't read them.
    """

    fingerprint: str
    attempt: str
    begun_at: datetime
    first_at: datetime
    seed: bytes
    answer: bytes | None = None


def replaces(
    stored: IdempotentAnswer, request: IdempotentAnswer, abandoned_before: datetime
) -> IdempotentAnswer | None:
    """What a new attempt puts in place of the stored one: its continuation, or, if something else is asked now,
    a new beginning; None while the stored one is answered or under way."""
    if stored.answer is not None or stored.begun_at >= abandoned_before:
        return None
    if stored.fingerprint != request.fingerprint:
        return request
    return msgspec.structs.replace(request, first_at=stored.first_at, seed=stored.seed)


class IdempotentAnswers(Protocol):
    """Requests that are carried out once, however often they are sent."""

    async def begin(self, request: IdempotentAnswer, *, abandoned_before: datetime) -> IdempotentAnswer:
        """Claim the id, and return the request that has it now: if its ``attempt`` is the one given, the caller
        is to carry it out.

        A request without an answer that began before ``abandoned_before`` lost its server: it is the caller's,
        with the ``first_at`` and the ``seed`` that it had.
        """

    async def finish(self, request: IdempotentAnswer) -> None:
        """Keep the answer of this attempt; nothing if the request is another attempt's by now."""

    async def release(self, request: IdempotentAnswer) -> None:
        """This attempt came to an end that nobody knows: the next one may begin, and goes on where it was."""

    async def forget(self, request: IdempotentAnswer) -> None:
        """This attempt came to nothing: forget the request, so that its key is free."""

    async def purge(self, before: datetime) -> int:
        """Forget requests whose first attempt began before this; returns how many."""
