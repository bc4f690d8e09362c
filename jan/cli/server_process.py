"""Runs a server in a process of its own, until a signal ends it."""

import asyncio
import gc
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from jan.application import Server
from jan.engine.models import LoadReport
from jan.engine.runtime.interpreter import tune_interpreter

log = structlog.get_logger(__name__)


async def serve_until_signalled(
    server: Server,
    report: LoadReport,
    announce: Callable[[list[str]], None],
    signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT),
) -> bool:
    """Run in a process of its own until one of the ``signals``; a second one ends the process at once.

    ``announce`` gets the base URLs once the server is ready. Returns False if a model failed whose configuration
    says that the process is to end.
    """
    tune_interpreter()
    urls = await server.start(report)
    stopping = asyncio.Event()
    # After the models, because loading a library may replace signal handlers.
    _handle_signals(server, stopping, signals)
    # The server's own objects live until the end. Freezing them keeps the collector from scanning them, which
    # would delay requests.
    gc.collect()
    gc.freeze()
    announce(urls)
    await first_of(stopping, server.models.failed)
    log.info("stopping", grace_seconds=server.settings.server.grace_seconds)
    if not await server.stop():
        os._exit(1)  # the event loop would wait for what is left
    return not server.models.failed.is_set()


def _handle_signals(server: Server, stopping: asyncio.Event, signals: Sequence[signal.Signals]) -> None:
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stopping.is_set():
            os._exit(130)
        stopping.set()

    for number in signals:
        with suppress(NotImplementedError):  # Windows has no signal handlers; there Ctrl-C raises.
            loop.add_signal_handler(number, on_signal)
    with suppress(NotImplementedError, AttributeError):  # Windows has no SIGHUP either.
        loop.add_signal_handler(signal.SIGHUP, server.reload_certificate)


def outlast_hangups() -> None:
    """Ignore SIGHUP until the server is ready and knows what to do then: loading a model may take minutes."""
    with suppress(AttributeError):  # Windows has no SIGHUP.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


async def first_of(*events: asyncio.Event) -> None:
    """Wait for one of several events."""
    tasks = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
