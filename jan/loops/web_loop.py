"""One web loop of several: a process that its supervisor starts with ``python -m jan.loops.web_loop FILE``, where
FILE is the number of the inherited socket on which the two ask each other."""

import asyncio
import os
import pickle
import signal
import socket
import sys

import structlog

from jan.application import Server
from jan.cli.server_process import serve_until_signalled
from jan.engine.base import Failed
from jan.errors import ConfigurationError
from jan.loops.link import Answer, Link
from jan.loops.member import Member
from jan.loops.merged_metrics import families_of
from jan.loops.questions import (
    BEGIN,
    FAILED,
    HAND_OVER,
    LATE_KEY,
    LOADING,
    METRICS,
    READY,
    Family,
    FirstStart,
    LoadingModel,
    LoopReady,
    Nothing,
)
from jan.loops.streams_elsewhere import Readers
from jan.settings import Settings
from jan.telemetry.logs import configure_logging

log = structlog.get_logger(__name__)

# How long a loop without its supervisor may take to end its requests.
_ORPHAN_SECONDS = 3.0


async def run(end: socket.socket) -> int:
    """Serve until the supervisor ends this process, or has ended itself. Returns the exit code."""
    link = Link(end, _stop)
    beginning = await link.ask(BEGIN, Nothing())
    settings: Settings = pickle.loads(beginning.settings)
    configure_logging(settings.log)
    structlog.contextvars.bind_contextvars(loop=beginning.number)

    def show_late_key(key: str) -> None:
        link.tell(LATE_KEY, FirstStart(admin_key=key))

    def ready(urls: list[str]) -> None:
        log.info("web loop serves", pid=os.getpid())
        first = FirstStart(admin_key=server.admin_key, start_code=server.start_code)
        link.tell(READY, LoopReady(urls=tuple(urls), first=first))

    try:
        server = Server(settings, show_late_key=show_late_key, member=Member(beginning, link))
        link.answer(*_answers(server))
        orderly = await serve_until_signalled(server, lambda _model, _part: None, ready, (signal.SIGTERM,))
    except ConfigurationError as error:
        link.tell(FAILED, Failed.of(error))
        orderly = False
    await link.close()
    return 0 if orderly else 1


def _answers(server: Server) -> tuple[Answer, ...]:
    async def metrics(_asked: Nothing) -> list[Family]:
        return families_of(server.services.metrics.registry)

    async def loading(asked: LoadingModel) -> Nothing:
        server.models.show_part(asked.model, asked.part)
        return Nothing()

    async def hand_over(_asked: Nothing) -> Nothing:
        await server.hand_over()
        return Nothing()

    own = METRICS.answered_by(metrics), LOADING.answered_by(loading), HAND_OVER.answered_by(hand_over)
    return *own, *Readers(server.services.streams).answers()


def _stop() -> None:
    """End this process, whose supervisor has gone: in order, if that does not take long."""
    asyncio.get_running_loop().call_later(_ORPHAN_SECONDS, os._exit, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Run one web loop."""
    # Ctrl-C reaches all processes of a terminal; the supervisor says when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.exit(asyncio.run(run(socket.socket(fileno=int(sys.argv[1])))))


if __name__ == "__main__":
    main()
