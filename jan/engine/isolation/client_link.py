"""The process's side of one connection: the requests of one event loop, and the events of their jobs.

Events are put and delivered on the engine's thread, which never waits for the other side. All else is called on
the event loop of the process.
"""

import asyncio
from collections.abc import Coroutine
from hmac import compare_digest
from typing import Any, Protocol

import msgspec
import structlog

from jan.children.framing import framed
from jan.engine.base import Delta, Event, Failed, Finished, GenerationRequest, JobId, PreparedRequest, Prompt
from jan.engine.isolation.engine_messages import (
    DropJob,
    EngineState,
    ForgetPrompts,
    FromEngine,
    Introduction,
    NewJob,
    QueueJob,
    ResetBackend,
    ShownTokens,
    ShowTokens,
    StepEvents,
    ToProcess,
    WasReset,
)
from jan.engine.isolation.frame_channel import FrameChannel
from jan.engine.refusals import model_failed
from jan.engine.runtime.job import Job
from jan.engine.runtime.mailbox import Cancel, Prepare, Submit
from jan.engine.runtime.prompt_threads import SharedPrompt
from jan.engine.runtime.thread import EngineThread
from jan.errors import JanError

log = structlog.get_logger(__name__)

# Bytes of a message before the other side has introduced itself.
_LONGEST_STRANGERS = 256
_NEXT_OTHER = -1


class LinkedJob(Job):
    """A job of a connection. ``number``: its id there."""

    __slots__ = ("link", "number")

    def __init__(
        self,
        job_id: JobId,
        request: GenerationRequest,
        prompt: SharedPrompt | None,
        link: "ClientLink",
        number: int,
    ) -> None:
        super().__init__(job_id, request, prompt=prompt)
        self.link = link
        self.number = number


class ServingProcess(Protocol):
    """The process that serves connections, as they see it."""

    name: str
    nonce: bytes
    thread: EngineThread
    welcome: bytes

    def next_id(self) -> JobId:
        """Return an id that no other job has, of whatever connection."""
        ...

    def greet(self, link: "ClientLink") -> None:
        """Take a connection that has introduced itself."""
        ...

    def leave(self, link: "ClientLink") -> None:
        """Forget a connection that has ended."""
        ...

    def state(self) -> EngineState:
        """Return how the engine is doing."""
        ...

    def wake(self) -> None:
        """Tell the connections soon what the engine is doing."""
        ...


class ClientLink:
    """One connection and its jobs."""

    def __init__(self, served: ServingProcess, descriptor: int) -> None:
        self._served = served
        self._channel = FrameChannel(
            descriptor, descriptor, self._introduced, self._ended, longest=_LONGEST_STRANGERS
        )
        self._decoder = msgspec.msgpack.Decoder(ToProcess)
        self._requests = msgspec.json.Decoder(GenerationRequest)
        self._prompts_of = msgspec.json.Decoder(Prompt)
        self._prompts: dict[int, Prompt] = {}
        # A job, or the task that makes it.
        self._jobs: dict[int, LinkedJob | asyncio.Task[None]] = {}
        self._heard = 0
        self._events = StepEvents([], [], [], [])

    # --- requests -----------------------------------------------------------------------------------

    def _introduced(self, frames: list[bytes]) -> None:
        """Take the first message. A stranger is told nothing."""
        try:
            first = self._decoder.decode(frames[0])
        except msgspec.MsgspecError:
            first = None
        if not isinstance(first, Introduction) or not compare_digest(first.nonce, self._served.nonce):
            log.warning("a stranger connected to the engine's socket")
            self._channel.close()
            return
        self._channel.trust(self._take)
        self._channel.send(self._served.welcome)
        self._served.greet(self)
        self._take(frames[1:])

    def _take(self, frames: list[bytes]) -> None:
        self._heard += len(frames)
        for frame in frames:
            self._obey(self._decoder.decode(frame))
        self._served.wake()

    def _obey(self, message: ToProcess) -> None:
        if isinstance(message, NewJob):
            if message.content:  # later jobs may share it, whatever becomes of this one
                self._prompts[message.prompt] = self._prompts_of.decode(message.content)
            self._begin(message.job, self._make(message))
        elif isinstance(message, QueueJob):
            job = self._jobs.get(message.job)
            if isinstance(job, LinkedJob):
                self._served.thread.post(Submit(job))
        elif isinstance(message, DropJob):
            self._drop(message.job)
        elif isinstance(message, ForgetPrompts):
            for number in message.prompts:
                self._prompts.pop(number, None)
        elif isinstance(message, ShowTokens):
            self._begin(message.job, self._show(message))
        elif isinstance(message, ResetBackend):
            self._served.thread.reset()

    def _begin(self, number: int, work: Coroutine[Any, Any, None]) -> None:
        """Carry out a request in a task of its own."""
        task = self._jobs[number] = asyncio.create_task(self._told(number, work))
        task.add_done_callback(lambda done: self._made(number, done))

    async def _told(self, number: int, work: Coroutine[Any, Any, None]) -> None:
        """Carry out a request, and tell why it is refused if it is."""
        try:
            await work
        except JanError as error:
            self._refuse(number, Failed.of(error))
        except Exception as error:
            log.exception("request failed in the engine's process", model=self._served.name)
            self._refuse(number, Failed.of(model_failed(self._served.name, error)))

    def _made(self, number: int, task: "asyncio.Task[None]") -> None:
        if self._jobs.get(number) is task:
            del self._jobs[number]

    async def _make(self, message: NewJob) -> None:
        """Make a job and hand it to the thread."""
        served = self._served
        request = self._request_of(message)
        prompt = await served.thread.admitted(request)
        job = LinkedJob(served.next_id(), request, prompt, self, message.job)
        self._jobs[message.job] = job
        served.thread.post(Submit(job) if message.queues else Prepare(job))

    def _request_of(self, message: NewJob) -> GenerationRequest:
        request = self._requests.decode(message.request)
        return msgspec.structs.replace(request, prompt=self._prompts[message.prompt])

    async def _show(self, message: ShowTokens) -> None:
        text = await self._served.thread.read_tokens(self._requests.decode(message.request))
        self._send(ShownTokens(message.job, text))

    def _refuse(self, number: int, failure: Failed) -> None:
        """Tell that a job failed before the thread had it, and the counters, in which it is."""
        self.tell(self._served.state())
        self._send(StepEvents([number], [_NEXT_OTHER], [""], [failure]))

    def _drop(self, number: int) -> None:
        job = self._jobs.pop(number, None)
        if isinstance(job, LinkedJob):
            job.closed = True
            self._served.thread.post(Cancel(job))
        elif job is not None:
            job.cancel()

    def fail_all(self, failure: Failed) -> None:
        """Fail all jobs; the thread has none any more."""
        for number, job in list(self._jobs.items()):
            if isinstance(job, LinkedJob):
                job.closed = True
                del self._jobs[number]
                self._refuse(number, failure)

    def _ended(self) -> None:
        for number in list(self._jobs):
            self._drop(number)
        self._served.leave(self)

    # --- events, on the engine's thread -------------------------------------------------------------

    def put(self, number: int, event: Event | PreparedRequest) -> None:
        """Keep an event until the next delivery."""
        events = self._events
        events.jobs.append(number)
        if isinstance(event, Delta) and event.text_only and not event.parts:
            events.tokens.append(event.tokens)
            events.texts.append(event.text)
            return
        events.tokens.append(_NEXT_OTHER)
        events.texts.append("")
        # The thread numbers the jobs of all connections.
        own = msgspec.structs.replace(event, job_id=number) if isinstance(event, PreparedRequest) else event
        events.others.append(own)
        if isinstance(event, Finished | Failed):
            self._jobs.pop(number, None)

    def clear(self) -> None:
        """Drop the events that were not delivered yet."""
        self._events = StepEvents([], [], [], [])

    def deliver(self, state: EngineState | None) -> None:
        """Send the events that were put here; before them the state of the engine, if it is given."""
        frames = b"" if state is None else framed(self._encoded(state))
        if self._events.jobs:
            events = self._events
            self.clear()
            frames += framed(msgspec.msgpack.encode(events))
        self._channel.send_framed(frames)

    def _encoded(self, state: EngineState) -> bytes:
        """Encode the state of the engine, with what was heard of this connection."""
        return msgspec.msgpack.encode(msgspec.structs.replace(state, heard=self._heard))

    def was_reset(self, failure: Failed) -> None:
        """Fail all jobs, and tell that the backend was reset."""
        self.fail_all(failure)
        self._send(WasReset())

    def tell(self, state: EngineState) -> None:
        """Send the state of the engine. Any thread may call it."""
        self._channel.send(self._encoded(state))

    def _send(self, message: FromEngine) -> None:
        """Send a message. Any thread may call it."""
        self._channel.send(msgspec.msgpack.encode(message))

    async def flush(self, seconds: float) -> None:
        """Wait until everything is sent, at most this long, and close."""
        await self._channel.flush(seconds)
        self._channel.close()
