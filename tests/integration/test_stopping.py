"""The end of a server whose parts do not end."""

import asyncio
from pathlib import Path

from structlog.testing import capture_logs
from support.server import ServerProcess

from jan import tasks

# Its models never close, whoever cancels that.
STUBBORN = """
import asyncio

import jan.application
import jan.tasks
from jan.cli.commands import main


async def never(_models):
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass


jan.application._PART_SECONDS = jan.tasks._END_SECONDS = 0.1
jan.application.ServedModels.close = never
main()
"""


def test_a_part_that_does_not_stop_is_named_and_left(tmp_path: Path) -> None:
    """The other parts stop in order, and the process ends with another code."""
    program, config = tmp_path / "stubborn.py", tmp_path / "jan.yaml"
    program.write_text(STUBBORN)
    config.write_text("extends: default\nlog: {format: json}\nmodels: [{id: echo, engine: echo}]\n")
    server = ServerProcess(config, program=(str(program),))
    assert server.stop() == 1
    # Others take longer than a tenth of a second too, on a busy machine.
    [stuck] = [error for error in server.errors() if error.get("part") == "ServedModels"]
    [left] = [error for error in server.errors() if "work" in error]
    assert "never" in stuck["waits"]
    assert "never" in left["work"]
    assert server.log[-1]["event"] == "stopped"


async def swallow(times: int) -> str:
    """Work that goes on after so many cancellations."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            times -= 1
            if times < 0:
                raise


def test_a_cancellation_is_repeated() -> None:
    """Work that swallows one ends with the second. What goes on is left, and the log says where it is."""

    async def ends(times: int) -> bool:
        task = asyncio.create_task(swallow(times))
        await asyncio.sleep(0)
        await tasks.end(task, None)
        ended = task.done()
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        return ended

    before, tasks._END_SECONDS = tasks._END_SECONDS, 0.05
    try:
        with capture_logs() as logged:
            assert [asyncio.run(ends(times)) for times in (0, 1, 5)] == [True, True, False]
    finally:
        tasks._END_SECONDS = before
    (entry,) = logged
    assert entry["event"] == "work does not end"
    assert "swallow > Event.wait" in entry["work"]
