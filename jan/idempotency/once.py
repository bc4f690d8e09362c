"""Requests with an Idempotency-Key are carried out once, however often they are sent and to whichever server.

The store learns neither the key nor the answer. It holds only a hash of the client's key, and data that is
encrypted with a key derived from it.
"""

import asyncio
import hmac
import math
import re
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from jan.errors import Conflict, InvalidRequest, JanError, Unavailable, retry_headers, status_of
from jan.idempotency.ids import IdSource, SeededIdSource
from jan.storage.idempotent_answers import IdempotentAnswer, IdempotentAnswers
from jan.storage.records import now
from jan.tasks import Tasks

KEY_HEADER = "Idempotency-Key"
# Long enough that nobody can guess it, since it encrypts the answer. All printable ASCII is allowed.
KEY_PATTERN = r"^[!-~]{16,255}$"
_KEY = re.compile(KEY_PATTERN)

# A request without a sign of life for this long has lost its server and may be carried out again.
_ABANDONED = timedelta(minutes=1)
_SIGN_OF_LIFE_SECONDS = 15.0
# How long a second request waits for the first, and how often it checks.
_PATIENCE_SECONDS = 2.0
_FIRST_LOOK_SECONDS = 0.02
_LAST_LOOK_SECONDS = 0.4
_CLOSE_SECONDS = 5.0
_NONCE_BYTES = 12
_SEED_BYTES = 32

Work = Callable[[IdSource], Awaitable[bytes]]


def check_key(key: str) -> None:
    """Raise InvalidRequest for a malformed key."""
    if not _KEY.fullmatch(key):
        raise InvalidRequest(
            f"{KEY_HEADER}: Not a valid key; allowed: 16 to 255 printable ASCII characters, such as a UUID.",
            code="invalid_idempotency_key",
            param=KEY_HEADER,
        )


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request: caller, operation and Idempotency-Key. ``content`` identifies its parameters and body, ``about``
    the conversation in its URL. ``user_id``: the caller, if known."""

    owner: str
    operation: str
    key: str
    content: Any
    about: str | None = None
    user_id: str | None = None

    def __repr__(self) -> str:
        return f"Asked(operation={self.operation!r})"


class Given(msgspec.Struct, frozen=True):
    """The body of an answer. ``replayed`` is True if it was stored by an earlier request."""

    body: bytes
    replayed: bool

    def __repr__(self) -> str:
        return f"Given(replayed={self.replayed})"  # the body may hold the secret of an API key


class _Envelope:
    """The stored form of a request: its id, its fingerprint, and the encryption of what the store must not
    read."""

    def __init__(self, asked: Asked) -> None:
        origin = msgspec.json.encode([asked.owner, asked.operation, asked.key])
        self.id = _derived(origin, b"jan idempotency id").hex()
        self._about = asked.about
        self._user_id = asked.user_id
        self._cipher = AESGCM(_derived(origin, b"jan idempotency seal"))
        printed = _derived(origin, b"jan idempotency fingerprint")
        self.fingerprint = hmac.digest(printed, msgspec.json.encode(asked.content), "sha256").hex()

    def seal(self, plain: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, self.id.encode())

    def open(self, sealed: bytes) -> bytes:
        return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], self.id.encode())

    def answered(self, stored: IdempotentAnswer, answer: bytes, mint: SeededIdSource) -> IdempotentAnswer:
        """Make the record of a request with its answer."""
        about = self._about or mint.about or mint.last_made.get("conv")
        return msgspec.structs.replace(stored, answer=self.seal(answer), about=about)

    def attempt(self, at: datetime) -> IdempotentAnswer:
        """Make the record of a first attempt at the request."""
        return IdempotentAnswer(
            id=self.id,
            fingerprint=self.fingerprint,
            attempt=secrets.token_hex(16),
            begun_at=at,
            first_at=at,
            seed=self.seal(secrets.token_bytes(_SEED_BYTES)),
            about=self._about,
            user_id=self._user_id,
        )


def _derived(origin: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(origin)


class Idempotency:
    """Carries requests out once and keeps their answers.

    Work that has begun continues after its client disconnects, so that the client finds the answer when it asks
    again.
    """

    def __init__(self, answers: IdempotentAnswers) -> None:
        self._answers = answers
        self._tasks = Tasks()

    async def close(self) -> None:
        """Let running work end. Call it before the store is closed."""
        await self._tasks.close(_CLOSE_SECONDS)

    async def forget_about(self, object_id: str) -> None:
        """Forget all answers about an object that is deleted, such as a conversation."""
        await self._answers.forget_about(object_id)

    async def once(self, asked: Asked, work: Work) -> Given:
        """Return the answer of ``work`` if the request is new, otherwise the stored answer. Only successes are
        stored.

        Of two concurrent requests, the second waits for the first. ``work`` makes ids with the source that it
        gets, because it may be repeated after a crash. Raises Conflict for a key that was used for another request
        or whose first request takes too long; Unavailable; and the errors of ``work``.
        """
        envelope = _Envelope(asked)
        attempt, pause, waited = envelope.attempt(now()), _FIRST_LOOK_SECONDS, 0.0
        while True:
            stored = await self._answers.begin(attempt, abandoned_before=now() - _ABANDONED)
            if stored.attempt == attempt.attempt:
                again = stored.seed != attempt.seed
                return Given(await self._carry_out(stored, envelope, work, again), replayed=False)
            if stored.fingerprint != envelope.fingerprint:
                raise _reused()
            if stored.answer is not None:
                return Given(envelope.open(stored.answer), replayed=True)
            if waited >= _PATIENCE_SECONDS:
                raise _in_progress(stored)
            await asyncio.sleep(pause)
            waited, pause = waited + pause, min(2 * pause, _LAST_LOOK_SECONDS)

    async def _carry_out(self, stored: IdempotentAnswer, envelope: _Envelope, work: Work, again: bool) -> bytes:
        mint = SeededIdSource(envelope.open(stored.seed), stored.first_at, again=again)
        return await asyncio.shield(self._tasks.start(self._attempt(stored, envelope, work, mint)))

    async def _attempt(
        self, stored: IdempotentAnswer, envelope: _Envelope, work: Work, mint: SeededIdSource
    ) -> bytes:
        settle, outcome = self._answers.release, stored
        alive = asyncio.create_task(self._show_life(stored))
        try:
            answer = await work(mint)
            settle, outcome = self._answers.finish, envelope.answered(stored, answer, mint)
            return answer
        except JanError as error:
            if status_of(type(error)) < 500:
                settle = self._answers.forget
            raise
        finally:
            alive.cancel()
            # If this fails, the same work is repeated in a minute with the same result.
            with suppress(Unavailable):
                await settle(outcome)

    async def _show_life(self, attempt: IdempotentAnswer) -> None:
        """Keep other servers from taking the request over while this one works on it."""
        while True:
            await asyncio.sleep(_SIGN_OF_LIFE_SECONDS)
            with suppress(Unavailable):
                await self._answers.renew(attempt, now())


def _reused() -> Conflict:
    return Conflict(
        f"This {KEY_HEADER} was used for another request. Use a new one for each.",
        code="idempotency_key_reused",
        param=KEY_HEADER,
        headers={"x-should-retry": "false"},
    )


def _in_progress(stored: IdempotentAnswer) -> Conflict:
    # When the request can be carried out again at the latest. Bounded, in case the clock was set back.
    left = stored.begun_at + _ABANDONED - now()
    seconds = math.ceil(min(max(left, timedelta(seconds=1)), _ABANDONED).total_seconds())
    return Conflict(
        "A request with this key is still running. Send it again later for its answer.",
        code="idempotency_in_progress",
        param=KEY_HEADER,
        headers=retry_headers(1000 * seconds),
    )
