"""An event loop's connection to the process of an engine: its requests go out, the events of its jobs come in."""

import asyncio
import socket
import time
from collections.abc import Callable
from itertools import count
from weakref import WeakValueDictionary, finalize

import msgspec

from jan.children.framing import framed
from jan.engine.base import (
    Delta,
    Event,
    Failed,
    GenerationRequest,
    JobId,
    ModelInfo,
    PreparedRequest,
    Prompt,
    TextPrompt,
    TokenizedText,
)
from jan.engine.isolation.engine_messages import (
    COUNTED,
    DropJob,
    EngineAddress,
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
    Welcome,
)
from jan.engine.isolation.frame_channel import FrameChannel
from jan.engine.runtime.host import HostEvents
from jan.engine.runtime.mailbox import Batch
from jan.engine.stats import EngineStats

# A prompt that no job has any more stays in the process for this long at most.
_FORGET_SECONDS = 1.0
_NONE = TextPrompt("")


class SentPrompt:
    """A prompt that jobs of one connection share. ``sent``: the process has it."""

    __slots__ = ("__weakref__", "number", "prompt", "sent")

    def __init__(self, number: int, prompt: Prompt) -> None:
        self.number = number
        self.prompt = prompt
        self.sent = False


class EngineLink:
    """One connection. ``info``: the model. ``stats``: the engine's counters, as last heard.

    ``on_end``: called once if the connection ends from the other side.
    """

    def __init__(self, descriptor: int, nonce: bytes, events: HostEvents, on_end: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._events = events
        self._on_end = on_end
        self.stats = EngineStats()
        self._welcomed: asyncio.Future[ModelInfo] = self._loop.create_future()
        self._info: ModelInfo | None = None
        self._decoder = msgspec.msgpack.Decoder(FromEngine)
        self._unsent = bytearray()
        self._sent = self._heard = 0
        # When it was asked for something that it has not heard yet, or last heard something before that.
        self._asked_at: float | None = None
        self._busy_since: float | None = None
        # Of prompts; and of requests that are no jobs.
        self._numbers, self._shows = count(1), count(-1, -1)
        self._prompts: WeakValueDictionary[int, SentPrompt] = WeakValueDictionary()
        self._forgotten: list[int] = []
        self._shown: dict[JobId, asyncio.Future[TokenizedText | Failed]] = {}
        self._channel = FrameChannel(descriptor, descriptor, self._take, self._ended)
        self._channel.send(msgspec.msgpack.encode(Introduction(nonce)))

    @classmethod
    async def open(cls, address: EngineAddress, events: HostEvents, on_end: Callable[[], None]) -> "EngineLink":
        """Connect to the process at an address. Raises OSError if there is none."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.setblocking(False)
            await asyncio.get_running_loop().sock_connect(made, address.path)
        except BaseException:
            made.close()
            raise
        return cls(made.detach(), address.nonce, events, on_end)

    async def info(self) -> ModelInfo:
        """Wait for the model's abilities. Raises ConnectionError if the connection ends before."""
        return await self._welcomed

    # --- requests -----------------------------------------------------------------------------------

    def prompt_of(self, prompt: Prompt) -> SentPrompt:
        """Return what jobs with this prompt object share. The process forgets it when no job has it any more."""
        shared = self._prompts.get(id(prompt))
        if shared is None:
            shared = self._prompts[id(prompt)] = SentPrompt(next(self._numbers), prompt)
            finalize(shared, self._forget, shared.number)
        return shared

    def _forget(self, number: int) -> None:
        if not self._forgotten and not self._loop.is_closed():
            self._loop.call_later(_FORGET_SECONDS, self._send_forgotten)
        self._forgotten.append(number)

    def _send_forgotten(self) -> None:
        if self._forgotten:
            self._post(ForgetPrompts(self._forgotten))
            self._forgotten = []

    def new_job(self, number: JobId, request: GenerationRequest, shared: SentPrompt, *, queues: bool) -> None:
        """Send a request, and its prompt unless the process has it."""
        content = b"" if shared.sent else msgspec.json.encode(shared.prompt)
        encoded = msgspec.json.encode(msgspec.structs.replace(request, prompt=_NONE))
        self._post(NewJob(number, encoded, shared.number, content, queues))
        shared.sent = True

    def queue_job(self, number: JobId) -> None:
        """Have a prepared job queued."""
        self._post(QueueJob(number))

    def drop_job(self, number: JobId) -> None:
        """Have a job ended."""
        self._post(DropJob(number))

    def reset(self) -> None:
        """Have the backend reset."""
        self._post(ResetBackend())

    def probe(self) -> None:
        """Ask for nothing but to be heard, so that ``busy_since`` tells if the process hangs."""
        self._post(ForgetPrompts([]))

    async def read_tokens(self, request: GenerationRequest) -> TokenizedText:
        """Show the tokens of a prompt; see ``TokenReader``."""
        number = next(self._shows)
        shown: asyncio.Future[TokenizedText | Failed] = self._loop.create_future()
        self._shown[number] = shown
        self._post(ShowTokens(number, msgspec.json.encode(request)))
        try:
            outcome = await shown
        finally:
            del self._shown[number]
        if isinstance(outcome, Failed):
            raise outcome.error()
        return outcome

    def _post(self, message: ToProcess) -> None:
        """Send a message, together with the others of this turn of the loop."""
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent += framed(msgspec.msgpack.encode(message))
        self._sent += 1
        if self._asked_at is None:
            self._asked_at = time.monotonic()

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, bytearray()
        self._channel.send_framed(unsent)

    def busy_since(self) -> float | None:
        """Return since when the engine has made no progress, or has not heard what it was asked."""
        return min((at for at in (self._asked_at, self._busy_since) if at is not None), default=None)

    # --- events -------------------------------------------------------------------------------------

    def _take(self, frames: list[bytes]) -> None:
        batches: list[Batch] = []
        for frame in frames:
            message = self._decoder.decode(frame)
            if isinstance(message, StepEvents):
                batches.append(_batch_of(message))
            elif isinstance(message, EngineState):
                self._know(message)
            elif isinstance(message, ShownTokens):
                self._settle_shown(message.job, message.text)
            elif isinstance(message, Welcome):
                self._info = message.info
                self._welcomed.set_result(message.info)
            else:
                self._events.on_reset()
        if batches:
            self._settle_failed(batches)
            self._events.on_arrival(batches)

    def _know(self, state: EngineState) -> None:
        """Note how the engine is doing."""
        for name, value in zip(COUNTED, state.counts, strict=True):
            setattr(self.stats, name, value)
        self.stats.waits.set(state.waits, state.waited)
        self._busy_since = state.busy_since
        if state.heard == self._sent:
            self._asked_at = None
        elif state.heard > self._heard:  # with many requests there may always be one on its way
            self._asked_at = time.monotonic()
        self._heard = state.heard
        if self._info is not None and self._info.cache is not None:
            self._info.cache.used = state.cache_used

    def _settle_failed(self, batches: list[Batch]) -> None:
        """Give failures of what is no job to those who wait for them."""
        if self._shown:
            for numbers, events in batches:
                for number, event in zip(numbers, events, strict=True):
                    if isinstance(event, Failed):
                        self._settle_shown(number, event)

    def _settle_shown(self, number: JobId, outcome: TokenizedText | Failed) -> None:
        waiting = self._shown.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(outcome)

    def fail_waiting(self, failure: Failed) -> None:
        """Fail those who wait for tokens to be shown."""
        for number in list(self._shown):
            self._settle_shown(number, failure)

    def _ended(self) -> None:
        self.stats.running = self.stats.waiting = self.stats.waiting_tokens = 0
        if not self._welcomed.done():
            self._welcomed.set_exception(ConnectionError("The engine's process closed the connection."))
            self._welcomed.exception()  # nobody may be waiting any more
        self._on_end()

    def drain(self) -> None:
        """Take all that has come, without waiting for later turns of the loop."""
        self._channel.drain()

    def close(self) -> None:
        """Close the connection; the process ends its jobs."""
        self._channel.close()


def _batch_of(step: StepEvents) -> Batch:
    others = iter(step.others)
    events: list[Event | PreparedRequest] = [
        Delta(text=text, tokens=tokens) if tokens >= 0 else next(others)
        for tokens, text in zip(step.tokens, step.texts, strict=True)
    ]
    return step.jobs, events
