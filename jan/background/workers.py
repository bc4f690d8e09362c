"""Makes the answers of the queue: claims them, extends the leases of those that this process makes, and lets go of
them when the server stops."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

import msgspec
import structlog

from jan.background.background_answer import BackgroundAnswer
from jan.errors import JanError, Unavailable
from jan.handler import Handler
from jan.services import Services
from jan.storage.queued_answers import QueuedAnswer
from jan.tasks import Tasks, end

log = structlog.get_logger(__name__)

# A lease is extended so often in its time. Other processes' answers are looked for as often.
_LOOKS_IN_A_LEASE = 5
_CLOSE_SECONDS = 5.0


class BackgroundWorkers:
    """The part of a server that makes answers in the background, for the APIs of its ``handlers``."""

    def __init__(self, services: Services, handlers: Iterable[type[Handler]]) -> None:
        self._services = services
        self._queue = services.background
        self._apis = {each.api: each.background for each in handlers if each.background is not None}
        self._most = services.settings.responses.max_running
        self._tasks = Tasks()
        self._answers: dict[str, BackgroundAnswer] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to make the answers of the queue."""
        if not self._apis:
            return  # their routes are switched off
        self._queue.on_put, self._queue.on_taken = self._begin_put, self._lose
        self._task = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Stop: leave what is being made to the next start, or to another process."""
        self._queue.close()
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=_CLOSE_SECONDS)
            await end(self._task)
            self._task = None
        for answer in list(self._answers.values()):
            answer.pause()
        await self._tasks.close(_CLOSE_SECONDS)

    async def _work(self) -> None:
        pause = self._queue.lease.total_seconds() / _LOOKS_IN_A_LEASE
        while not self._queue.live.closed:
            self._wake.clear()
            try:
                await self._extend()
                await self._claim()
                await self._queue.look()
            except Unavailable:
                pass  # whoever needs the store says so
            except (JanError, msgspec.MsgspecError) as error:
                log.error("background responses can't be claimed", reason=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _extend(self) -> None:
        """Extend the leases of what is made here. What is not held any more ends."""
        known = list(self._answers)
        if known:
            held = await self._queue.extend()
            for answer_id in known:
                if answer_id not in held:
                    self._lose(answer_id)

    async def _claim(self) -> None:
        while len(self._answers) < self._most:
            queued = await self._queue.claim(sorted({answer.queued.user_id for answer in self._answers.values()}))
            if queued is None:
                return
            if queued.id in self._answers:  # lost a moment ago, and still ending
                await self._queue.release(queued, queued.charged)
                return
            self._begin(queued)

    def _begin_put(self, queued: QueuedAnswer) -> bool:
        if len(self._answers) >= self._most or self._queue.live.closed:
            return False
        self._begin(queued)
        return True

    def _begin(self, queued: QueuedAnswer) -> None:
        answer = self._answers[queued.id] = BackgroundAnswer(self._services, self._apis.get(queued.api), queued)
        self._tasks.start(answer.carry_out()).add_done_callback(lambda task: self._ended(queued.id, task))

    def _ended(self, answer_id: str, task: "asyncio.Task[None]") -> None:
        del self._answers[answer_id]
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background response failed", message_id=answer_id, exc_info=error)

    def _lose(self, answer_id: str) -> None:
        answer = self._answers.get(answer_id)
        if answer is not None:
            answer.lose()
