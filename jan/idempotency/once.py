"""Requests with an Idempotency-Key: carried out once, however often they are sent, on one server or another.

The store learns neither the key nor the answer: what it keeps is sealed with a key that is derived from the
client's, of which it has only a hash.
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

from jan.errors import Conflict, InvalidRequest, JanError, Unavailable, status_of, when_to_retry
from jan.idempotency.ids import IdSource, SeededIdSource
from jan.storage.idempotent_answers import IdempotentAnswer, IdempotentAnswers
from jan.storage.records import now
from jan.tasks import Tasks

KEY_HEADER = "Idempotency-Key"
# At least so long that nobody guesses what it seals; the whole alphabet is printable ASCII.
KEY_PATTERN = r"^[!-~]{16,255}$"
_KEY = re.compile(KEY_PATTERN)

# A request that goes on for longer lost its server, and may be carried out again.
_ABANDONED = timedelta(minutes=1)
# How long a second request waits for the first, and how often it looks.
_PATIENCE_SECONDS = 2.0
_FIRST_LOOK_SECONDS = 0.02
_LAST_LOOK_SECONDS = 0.4
_CLOSE_SECONDS = 5.0
_NONCE_BYTES = 12
_SEED_BYTES = 32

Work = Callable[[IdSource], Awaitable[bytes]]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request: whose, which operation, with which Idempotency-Key. ``content`` is what makes it the same
    request."""

    owner: str
    operation: str
    key: str
    content: Any

    def __repr__(self) -> str:
        return f"Asked(operation={self.operation!r})"


class Given(msgspec.Struct, frozen=True):
    """An answer's body; ``replayed`` if it was given before."""

    body: bytes
    replayed: bool

    def __repr__(self) -> str:
        return f"Given(replayed={self.replayed})"  # the body may hold an API key's secret


class _Envelope:
    """What a request is stored as: its id, its fingerprint, and sealing for what the store must not read."""

    def __init__(self, asked: Asked) -> None:
        origin = msgspec.json.encode([asked.owner, asked.operation, asked.key])
        self.id = _derived(origin, b"jan idempotency id").hex()
        self._cipher = AESGCM(_derived(origin, b"jan idempotency seal"))
        printed = _derived(origin, b"jan idempotency fingerprint")
        self.fingerprint = hmac.digest(printed, msgspec.json.encode(asked.content), "sha256").hex()

    def seal(self, plain: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, self.id.encode())

    def open(self, sealed: bytes) -> bytes:
        return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], self.id.encode())

    def attempt(self, at: datetime) -> IdempotentAnswer:
        """A first attempt at the request."""
        return IdempotentAnswer(
            id=self.id,
            fingerprint=self.fingerprint,
            attempt=secrets.token_hex(16),
            begun_at=at,
            first_at=at,
            seed=self.seal(secrets.token_bytes(_SEED_BYTES)),
        )


def _derived(origin: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(origin)


class Idempotency:
    """Answers given once. What was begun goes on when its client leaves, so that the client finds the answer
    when it asks again."""

    def __init__(self, answers: IdempotentAnswers) -> None:
        self._answers = answers
        self._tasks = Tasks()

    async def close(self) -> None:
        """Let what is under way end; the store is closed after this."""
        await self._tasks.close(_CLOSE_SECONDS)

    async def once(self, asked: Asked, work: Work) -> Given:
        """The answer: of ``work`` if the request is new, else the one given before. Only successes are kept.

        Of two at once, the second waits for the first. Raises InvalidRequest for a malformed key; Conflict for a
        key that was used for something else, and if the first takes too long; Unavailable; and what ``work``
        raises. ``work`` makes ids with the mint that it gets, since it may have to be repeated after a crash.
        """
        if not _KEY.fullmatch(asked.key):
            raise InvalidRequest(
                f"{KEY_HEADER}: must be 16 to 255 printable ASCII characters without spaces, such as a UUID",
                code="invalid_idempotency_key",
                param=KEY_HEADER,
            )
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

    async def _attempt(self, stored: IdempotentAnswer, envelope: _Envelope, work: Work, mint: IdSource) -> bytes:
        settle, outcome = self._answers.release, stored
        try:
            answer = await work(mint)
            settle, outcome = self._answers.finish, msgspec.structs.replace(stored, answer=envelope.seal(answer))
            return answer
        except JanError as error:
            if status_of(type(error)) < 500:
                settle = self._answers.forget
            raise
        finally:
            # Without it, the same is done again in a minute, and comes to the same.
            with suppress(Unavailable):
                await settle(outcome)


def _reused() -> Conflict:
    return Conflict(
        f"this {KEY_HEADER} was used for another request; use a new one for each",
        code="idempotency_key_reused",
        param=KEY_HEADER,
        headers={"x-should-retry": "false"},
    )


def _in_progress(stored: IdempotentAnswer) -> Conflict:
    # When it may be carried out again at the latest; not longer, even if the clock was set back.
    left = stored.begun_at + _ABANDONED - now()
    seconds = math.ceil(min(max(left, timedelta(seconds=1)), _ABANDONED).total_seconds())
    return Conflict(
        "a request with this key is being carried out; send it again later for its answer",
        code="idempotency_in_progress",
        param=KEY_HEADER,
        headers=when_to_retry(1000 * seconds),
    )
