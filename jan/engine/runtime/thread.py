"""An engine's thread as the event loop sees it: start, send messages, watch, abandon.

A thread that hangs in its backend can't be ended from outside, so it is abandoned. Then its events are dropped,
and it ends by itself if it ever wakes up.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import cast

import structlog

from jan.engine.base import Backend, Failed, GenerationRequest, JobId, ModelInfo, OnProgress, TokenizedText
from jan.engine.grammars.trials import Trials
from jan.engine.refusals import shows_no_tokens
from jan.engine.rules import EngineRules
from jan.engine.runtime.host import HostEvents
from jan.engine.runtime.job import Job
from jan.engine.runtime.mailbox import Close, Message, Outbox, Reset
from jan.engine.runtime.prompt_threads import PromptThreads, SharedPrompt
from jan.engine.runtime.worker import Worker
from jan.engine.stats import EngineStats
from jan.errors import InternalError

log = structlog.get_logger(__name__)


class EngineThread:
    """One thread with the backend that it drives: the Host of a backend in this process.

    ``outbox``: sends the events of jobs; by default to ``events.on_arrival``.
    """

    can_be_ended = False
    kind = "thread"

    def __init__(
        self,
        name: str,
        make_backend: Callable[[], Backend],
        rules: EngineRules,
        events: HostEvents,
        outbox: Outbox | None = None,
    ) -> None:
        self.stats = EngineStats()
        self._prompts = PromptThreads(name, self.stats, self._reset_when_idle)
        self._trials: Trials | None = None
        self._ending: asyncio.Task[None] | None = None
        self._name = name
        self._make_backend = make_backend
        self._events = events
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._outbox = outbox or Outbox(events.on_arrival)
        self._worker = Worker(name, rules, self.stats, self._inbox, self._outbox, self._on_reset)
        self._loop = asyncio.get_running_loop()
        # Messages of this turn of the loop.
        self._unsent: list[Message] = []
        self._reset_wanted = self._resetting = False

    async def start(self, progress: OnProgress) -> ModelInfo:
        """Start the thread and load the model in it. Raises the exceptions of the backend's ``load``."""
        loaded: asyncio.Future[ModelInfo] = asyncio.get_running_loop().create_future()
        # It inherits the context, so that what it logs belongs to the server that started it.
        self._thread = threading.Thread(
            target=copy_context().run,
            args=(self._main, loaded, progress),
            name=f"engine-{self._name}",
            daemon=True,
        )
        self._thread.start()
        info = await loaded
        if info.formats is not None:
            self._trials = Trials(info.formats)
        return info

    async def job_of(self, job_id: JobId, request: GenerationRequest) -> Job:
        """Make a job, after its output format has been tried and its prompt tokenised."""
        return Job(job_id, request, prompt=await self.admitted(request))

    async def admitted(self, request: GenerationRequest) -> SharedPrompt | None:
        """Try a request's output format and tokenise its prompt; None if that is left to the backend's thread.

        Raises the JanError of a request that is refused.
        """
        if self._trials is not None:
            await self._trials.admit(request.output, request.owner)
        return await self._prompts.tokenized(request)

    async def read_tokens(self, request: GenerationRequest) -> TokenizedText:
        """Show the tokens of a prompt; see ``TokenReader``."""
        if (shared := await self._prompts.tokenized(request)) is None:
            raise shows_no_tokens(self._name)
        return cast(TokenizedText, shared.tokenized)

    def post(self, message: Message) -> None:
        """Send a message to the thread, together with the others of this turn of the loop.

        A thread that wakes up wants Python's lock at once, which costs both threads more than a message does.
        """
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(message)

    def _send(self) -> None:
        messages, self._unsent = self._unsent, []
        for message in messages:
            self._inbox.put(message)

    def busy_since(self) -> float | None:
        """Return when it last made progress, or began with a prompt, on the monotonic clock; None while idle."""
        worker = None if self._worker.idle else self.stats.progress_at
        return min((since for since in (worker, self._prompts.busy_since) if since is not None), default=None)

    def fail_waiting(self, failure: Failed) -> None:
        """Fail the prompts that are not tokenised yet."""
        self._prompts.fail(failure)

    def reset(self) -> None:
        """Have the backend reset, once, when no thread tokenises for it any more."""
        self._reset_wanted = True
        self._reset_when_idle()

    def _reset_when_idle(self) -> None:
        if self._reset_wanted and not self._resetting and self._prompts.busy_since is None:
            self._resetting = True
            self.post(Reset())

    def _on_reset(self) -> None:
        self._reset_wanted = self._resetting = False
        self._events.on_reset()

    def abandon(self) -> None:
        """Drop all further events of the thread; it ends when it can."""
        self._outbox.abandoned = True
        self._prompts.stop()
        self._end_trials()
        self.post(Close())

    def _end_trials(self) -> None:
        if self._trials is not None and self._ending is None:
            self._ending = asyncio.create_task(self._trials.close())

    async def join(self, seconds: float) -> bool:
        """Wait at most ``seconds`` for the thread's end; returns True if it has ended."""
        self._end_trials()
        if self._ending is not None:
            await self._ending
        await asyncio.to_thread(self._thread.join, seconds)
        return not self._thread.is_alive()

    def _main(self, loaded: "asyncio.Future[ModelInfo]", progress: OnProgress) -> None:
        """Load and serve; runs on the thread."""
        try:
            backend = self._make_backend()
            info = backend.load(lambda part: self._outbox.call(progress, part))
        except Exception as error:  # noqa: BLE001 - passed to the caller of start
            self._outbox.settle(loaded, error)
            return
        except BaseException as error:  # noqa: BLE001 - would end the event loop
            self._outbox.settle(loaded, InternalError(f"Loading was ended by {type(error).__name__}."))
            return
        self._prompts.offer(getattr(backend, "tokenize", None), getattr(backend, "read_tokens", None))
        self._outbox.settle(loaded, info)
        try:
            self._worker.serve(backend, info.fingerprint)
        except BaseException:
            # Jobs first, because formatting a traceback can take long.
            self._outbox.deliver()
            self._worker.drop_jobs()
            self._outbox.call(self._events.on_death, self)
            log.exception("engine thread died", model=self._name, abandoned=self._outbox.abandoned)
        finally:
            self._prompts.close()
            backend.close()
        if self._outbox.abandoned:
            log.info("abandoned engine thread has ended", model=self._name)
