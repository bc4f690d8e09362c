"""Stores an answer while it is generated: begun empty, saved about once a second, ended in every case."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Literal

import msgspec
import structlog

from jan.engine.base import Failed
from jan.errors import Conflict, JanError, NotFound, Unavailable, retry_headers
from jan.storage.records import AnswerProgress, MessageRecord, MessageStatus
from jan.storage.repositories import Store
from jan.tasks import Tasks

log = structlog.get_logger(__name__)

_SAVE_SECONDS = 1.0
#: An answer under way is saved at least this often, even if nothing was added to it.
SIGN_OF_LIFE_SECONDS = 30.0
#: An answer that was not saved for this long lost its server: it missed several signs of life.
ABANDONED_AFTER = timedelta(seconds=4 * SIGN_OF_LIFE_SECONDS)
# How long a request waits for the end of its answer to be stored, and how often that is tried after it.
_PATIENCE_SECONDS = 5.0
_ATTEMPTS = 60


class KeptAnswer:
    """One answer. ``progress`` returns it as far as it is; it is called about once a second, never for a token.
    ``append`` stores its beginning, and its question.
    """

    def __init__(
        self,
        store: Store,
        tasks: Tasks,
        user_id: str,
        message: MessageRecord,
        progress: Callable[[], AnswerProgress],
        append: Callable[[MessageRecord], Awaitable[None]],
    ) -> None:
        self.message = message
        self._store = store
        self._tasks = tasks
        self._user_id = user_id
        self._progress = progress
        self._append = append
        self._last: AnswerProgress | None = None
        self._failure: JanError | None = None
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Append the message as ``streaming`` and return once it is durable.

        Raises Conflict, NotFound and Unavailable. Nothing is stored then, as far as is known.
        """
        append = self._tasks.start(self._append_now())
        self._task = self._tasks.start(self._keep(append))
        await asyncio.shield(append)

    async def _append_now(self) -> None:
        await self._append(self.message)

    async def finish(self, progress: AnswerProgress) -> None:
        """Store the whole answer and return once it is durable.

        Raises the store's refusal, and Unavailable if it takes too long; it is still being tried then.
        """
        self._end(progress)
        if not await self.ended():
            raise Unavailable(
                "The answer is complete, but the store can't keep it at the moment.",
                code="storage_unavailable",
                headers=retry_headers(5000, by_itself=False),
            )
        if self._failure is not None:
            raise self._failure

    async def ended(self) -> bool:
        """Wait until the answer's end is durable; False if that takes too long. It is still being tried then."""
        assert self._task is not None  # ``begin`` was called
        done, _ = await asyncio.wait({self._task}, timeout=_PATIENCE_SECONDS)
        for task in done:
            task.result()
        return bool(done)

    def leave(self, status: Literal["partial", "failed"] = "partial", error: JanError | None = None) -> None:
        """End an answer that gets no further: it is stored with this status, unless it was finished. ``error``:
        the reason, if it failed."""
        if not self._ended.is_set():
            failure = None if error is None else Failed.without_headers(error)
            self._end(msgspec.structs.replace(self._progress_as(status), failure=failure))

    def _end(self, progress: AnswerProgress) -> None:
        self._last = progress
        self._ended.set()

    def _progress_as(self, status: MessageStatus) -> AnswerProgress:
        return msgspec.structs.replace(self._progress(), status=status)

    async def _keep(self, append: "asyncio.Task[None]") -> None:
        try:
            await append
        except JanError:
            return  # begin() raises it to whoever waits there
        try:
            await self._save_now_and_then()
            await self._save_last()
        except (NotFound, Conflict):
            pass  # its conversation was deleted meanwhile, or its content
        except JanError as error:
            self._failure = error
            log.error("answer not kept", message_id=self.message.id, reason=error.message)

    async def _save_now_and_then(self) -> None:
        saved, quiet = self._progress_as("streaming"), 0.0
        while not await self._ends_within(_SAVE_SECONDS):
            progress, quiet = self._progress_as("streaming"), quiet + _SAVE_SECONDS
            if progress != saved or quiet >= SIGN_OF_LIFE_SECONDS:
                with suppress(Unavailable):
                    await self._save(progress)
                    saved, quiet = progress, 0.0

    async def _ends_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        return self._ended.is_set()

    async def _save_last(self) -> None:
        assert self._last is not None  # set before the event that led here
        for _ in range(_ATTEMPTS):
            with suppress(Unavailable):
                await self._save(self._last)
                return
            await asyncio.sleep(_SAVE_SECONDS)
        log.error("answer not kept", message_id=self.message.id, reason="the store was away for too long")

    async def _save(self, progress: AnswerProgress) -> None:
        await self._store.messages.save(self._user_id, self.message.conversation_id, self.message.id, progress)
