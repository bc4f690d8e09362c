"""The supervisor of web loops, in this process, with loops of their own."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jan.loops.loop_process import LoopProcess
from jan.loops.supervisor import Supervisor
from jan.settings.load import load_configuration

pytestmark = pytest.mark.slow

LOOPS = 2


async def becomes(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def test_every_loop_is_replaced_and_none_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop is replaced though the system had no process for it at first. A stop ends also the loop that was
    just about to take another one's place."""
    config = tmp_path / "jan.yaml"
    server = f"server: {{workers: {LOOPS}, host: 127.0.0.1, port: 0}}"
    config.write_text(f"extends: default\nmodels: []\n{server}\ndata: {tmp_path}\n")
    start, begun, refused = LoopProcess.start, list[LoopProcess](), list[str]()

    async def noted(*arguments: Any) -> LoopProcess:
        if len(begun) == LOOPS and not refused:
            refused.append("no process")
            raise BlockingIOError("Resource temporarily unavailable")
        begun.append(await start(*arguments))
        return begun[-1]

    monkeypatch.setattr(LoopProcess, "start", noted)

    async def main() -> None:
        supervisor = Supervisor(load_configuration(config).settings, LOOPS, lambda _first: None)
        await supervisor.start(lambda _model, _part: None)
        os.kill(begun[1].pid, signal.SIGKILL)
        await becomes(lambda: len(begun) == LOOPS + 1)
        await begun[-1].ready()
        renewing = asyncio.create_task(supervisor.renew())
        await becomes(lambda: len(begun) == LOOPS + 2)
        await supervisor.stop()
        assert [one.number for one in begun if not one.ended.done()] == []
        await renewing

    asyncio.run(asyncio.wait_for(main(), 60))
    assert refused
