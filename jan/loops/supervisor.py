"""The supervisor of several web loops: it takes the port, starts the loops, puts another in the place of one that
dies, renews them one after another, and stops them."""

import asyncio
import os
import pickle
import signal
from collections.abc import Callable
from contextlib import suppress

import msgspec
import structlog

from jan.cli.server_process import first_of
from jan.engine.models import LoadReport
from jan.errors import JanError
from jan.http.listening import listen
from jan.loops.loop_hub import Hub
from jan.loops.loop_process import LoopProcess
from jan.loops.owned_engines import OwnedEngines
from jan.loops.questions import HAND_OVER, LATE_KEY, PROCESSES, Beginning, FirstStart, LoopReady, Nothing
from jan.schema.status import ProcessUse
from jan.settings import Settings
from jan.tasks import Tasks
from jan.telemetry.process_use import use_of

log = structlog.get_logger(__name__)

# The first pause before a loop that has died is started again; doubled each time, until one has served for longer.
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 30.0
_SERVED_WELL_SECONDS = 60.0
# How long a loop that is renewed may take to leave its clients to the others.
_HAND_OVER_SECONDS = 10.0


def settings_of_loop(settings: Settings, loops: int) -> Settings:
    """Return the settings of one of several loops: its part of what is bounded for the whole server."""
    server, streams, responses = settings.server, settings.streams, settings.responses
    replace = msgspec.structs.replace
    return replace(
        settings,
        server=replace(server, max_bodies_bytes=max(2 * server.max_body_bytes, server.max_bodies_bytes // loops)),
        streams=replace(streams, max_total_bytes=max(streams.max_bytes, streams.max_total_bytes // loops)),
        responses=replace(responses, max_running=-(-responses.max_running // loops)),
    )


class Supervisor:
    """Several web loops that serve one address.

    ``show_first``: gets what a first start made for the administrator, if that is made after the start.
    """

    def __init__(self, settings: Settings, loops: int, show_first: Callable[[FirstStart], None]) -> None:
        self._settings = settings
        self._show_first = show_first
        self._numbers = range(1, loops + 1)
        self._given = pickle.dumps(settings_of_loop(settings, loops))
        self._engines = OwnedEngines(settings)
        self._hub = Hub(self._engines)
        #: Set when a model fails whose configuration says that this ends the server.
        self.failed = self._engines.failed
        self._loops: dict[int, LoopProcess] = {}
        # All processes that run, those too that do not serve yet, and those whose place another one has.
        self._running: set[LoopProcess] = set()
        self._tasks = Tasks()
        self._renewing = asyncio.Lock()
        self._stopping = False

    async def start(self, report: LoadReport) -> LoopReady:
        """Take the port, load the models, and start the loops; the first one opens the store before the others.

        Returns what the first one says. Raises CannotListen, or another JanError for which a loop can't serve.
        """
        self._sockets = listen(self._settings.server)
        try:
            await self._engines.start(report)
            first = await (await self._begin(1)).ready()
            others = [await self._begin(number) for number in self._numbers[1:]]
            await asyncio.gather(*(loop.ready() for loop in others))
        except BaseException:
            await self.stop(grace_seconds=0.0)
            raise
        for loop in self._loops.values():
            self._watch(loop)
        return first

    async def _begin(self, number: int, again: bool = False) -> LoopProcess:
        beginning = Beginning(
            number=number,
            again=again,
            settings=self._given,
            sockets=tuple(one.fileno() for one in self._sockets),
            processes=self._engines.names,
        )
        loop = await LoopProcess.start(beginning, self._hub.leave)
        loop.link.answer(LATE_KEY.answered_by(self._late_key), PROCESSES.answered_by(self._processes))
        self._hub.join(loop.link)
        self._running.add(loop)
        loop.ended.add_done_callback(lambda _: self._running.discard(loop))
        if self._stopping:
            await loop.stop(grace_seconds=0.0)
        if number not in self._loops:
            self._loops[number] = loop
        return loop

    async def _processes(self, _asked: Nothing) -> list[ProcessUse]:
        loops = [use_of("web_loop", str(number), loop.pid) for number, loop in self._loops.items()]
        return [use_of("supervisor", "", os.getpid()), *loops, *self._engines.uses()]

    async def _late_key(self, first: FirstStart) -> Nothing:
        self._show_first(first)
        return Nothing()

    # --- while they serve ---------------------------------------------------------------------------

    def _watch(self, loop: LoopProcess) -> None:
        self._tasks.start(self._replace_when_dead(loop))

    async def _replace_when_dead(self, loop: LoopProcess) -> None:
        """Start a loop that ends by itself again, until one serves."""
        now = asyncio.get_running_loop().time
        pause, began = _FIRST_PAUSE_SECONDS, now()
        await asyncio.wait({loop.ended})
        while self._loops.get(loop.number) is loop and not self._stopping:
            log.error(
                "web loop ended; another one takes its place", loop=loop.number, pid=loop.pid, reason=loop.reason
            )
            if now() - began > _SERVED_WELL_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            await loop.link.close()
            if self._stopping:
                return
            began = now()
            try:
                fresh = await self._begin(loop.number, again=True)
            except OSError as error:
                log.error("no process for a web loop", loop=loop.number, reason=str(error))
                continue
            if self._loops[loop.number] is not loop:  # it was renewed meanwhile
                await fresh.stop(grace_seconds=0.0)
                return
            loop = self._loops[loop.number] = fresh
            with suppress(JanError):
                await loop.ready()
            await asyncio.wait({loop.ended})

    async def _until_ready(self, loop: LoopProcess) -> None:
        """Wait until a loop serves; end it if it can't. Raises the JanError for that."""
        try:
            await loop.ready()
        except JanError:
            await loop.stop(grace_seconds=0.0)
            raise

    async def renew(self) -> None:
        """Put a new process into each loop's place, one after another: it serves before the old one stops.

        If a new one can't serve, the old ones that are left stay.
        """
        async with self._renewing:
            for number in self._numbers:
                if self._stopping:
                    return
                try:
                    fresh = await self._begin(number, again=True)
                    await self._until_ready(fresh)
                except (JanError, OSError) as error:
                    log.error("web loops not renewed; those before stay", loop=number, reason=str(error))
                    return
                old, self._loops[number] = self._loops[number], fresh
                self._watch(fresh)
                with suppress(JanError, TimeoutError):  # it has ended already, or hangs
                    async with asyncio.timeout(_HAND_OVER_SECONDS):
                        await old.link.ask(HAND_OVER, Nothing())
                await old.stop(self._settings.server.grace_seconds)
            log.info("web loops renewed", loops=len(self._numbers))

    async def stop(self, grace_seconds: float | None = None) -> None:
        """Let all loops finish their requests within the grace period, and end them."""
        self._stopping = True
        grace = self._settings.server.grace_seconds if grace_seconds is None else grace_seconds
        for one in self._sockets:
            one.close()
        await asyncio.gather(*(loop.stop(grace) for loop in list(self._running)))
        await self._tasks.close(0.0)
        await self._engines.close()
        log.info("stopped", loops=len(self._numbers))


async def supervise(supervisor: Supervisor, report: LoadReport, announce: Callable[[LoopReady], None]) -> bool:
    """Run until SIGTERM or SIGINT; a second one ends this process at once, and its loops with it. SIGHUP renews
    the loops. Returns False if a model failed whose configuration says that the server is to end."""
    loop, stopping, tasks = asyncio.get_running_loop(), asyncio.Event(), Tasks()

    def on_signal() -> None:
        if stopping.is_set():
            loop.remove_signal_handler(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
        stopping.set()

    announce(await supervisor.start(report))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    loop.add_signal_handler(signal.SIGHUP, lambda: tasks.start(supervisor.renew()))
    await first_of(stopping, supervisor.failed)
    await supervisor.stop()
    await tasks.close(0.0)
    return not supervisor.failed.is_set()
