"""Clients that leave by the thousand, and a server that is told to stop while it streams."""

import asyncio
import json
import signal
from typing import Any

import pytest
from support.load import RawStream, resident_mib
from support.patience import until
from support.sdk import StartServer, measured
from support.server import ServerProcess

pytestmark = pytest.mark.load

SLOTS = 4
_SLOW = f"""
server: {{grace_seconds: %s}}
models:
  - {{id: slow, engine: echo, max_waiting: 64, options: {{step_seconds: 0.01, slots: {SLOTS}}}}}
  - {{id: wide, engine: echo, options: {{step_seconds: 0.02, slots: 20}}}}
"""
LEAVERS = 1000
WARM_UP = 1250
AT_ONCE = 25
#: Measured over 3,500 clients: 30 MiB more up to the thousandth, as the allocator finds its size, then 3 MiB in
#: 2,500; a busy machine finds it later. A leaked handler with its request, buffers and task would be some 50 KiB,
#: 50 MiB for all.
MOST_GROWTH_MIB = 25


def idle(server: ServerProcess) -> bool:
    """Return True if the model has nothing left to do."""
    return all(measured(server, f"jan_engine_{what}", model="slow") == 0 for what in ("running", "waiting"))


async def come_and_go(server: ServerProcess, count: int) -> None:
    """Let clients, some at the same time, disconnect in the middle: with a slot or still waiting for one."""

    async def one(number: int) -> None:
        stream = await RawStream.begin(server.url, "slow", 2000)
        for _ in range(number % 3 if number % AT_ONCE < SLOTS else 0):
            await stream.event()
        await stream.leave()

    for start in range(0, count, AT_ONCE):
        await asyncio.gather(*(one(number) for number in range(start, start + AT_ONCE)))


async def together(server: ServerProcess, model: str, count: int, words: int) -> list[bytes]:
    """Read streams to their ends. All have begun before the first is read further."""
    streams = [await RawStream.begin(server.url, model, words) for _ in range(count)]
    return list(await asyncio.gather(*(stream.rest() for stream in streams)))


def test_a_thousand_clients_leave_in_mid_stream(start_server: StartServer) -> None:
    """The engine counts each as cancelled, memory stays flat, and every slot serves afterwards."""
    server = start_server(_SLOW % 5)
    asyncio.run(come_and_go(server, WARM_UP))
    assert until(lambda: idle(server))
    before = resident_mib(server.pid)
    asyncio.run(come_and_go(server, LEAVERS))
    assert until(lambda: idle(server))
    assert resident_mib(server.pid) - before < MOST_GROWTH_MIB
    assert measured(server, "jan_engine_cancelled_total", model="slow") == LEAVERS + WARM_UP
    assert until(lambda: measured(server, "jan_http_live_requests") == 1)  # the one that asks
    # More words than one slot could say while the others wait for it, so that they are only quick side by side.
    answers = asyncio.run(together(server, "slow", SLOTS, 50))
    assert all(b"data: [DONE]" in answer for answer in answers)
    assert server.stop() == 0
    assert server.errors() == []


def events_of(answer: bytes) -> list[Any]:
    """The data of each event of a raw stream."""
    lines = [line for line in answer.decode().splitlines() if line.startswith("data: ")]
    return [line if line == "data: [DONE]" else json.loads(line.removeprefix("data: ")) for line in lines]


def stop_with_live_streams(server: ServerProcess, streams: int, words: int) -> list[list[Any]]:
    """SIGTERM when each has its first words; gives the events that each got after that."""

    async def scenario() -> list[bytes]:
        live = [await RawStream.begin(server.url, "wide", words) for _ in range(streams)]
        for stream in live:
            while b"word" not in await stream.event():
                pass
        server.signal(signal.SIGTERM)
        return list(await asyncio.gather(*(stream.rest() for stream in live)))

    return [events_of(answer) for answer in asyncio.run(asyncio.wait_for(scenario(), 60))]


def test_a_stop_lets_live_streams_end(start_server: StartServer) -> None:
    """Twenty streams that can end within the grace do so, each with its finish reason and [DONE]; exit 0."""
    server = start_server(_SLOW % 30)
    for *events, finish, done in stop_with_live_streams(server, 20, 60):
        assert events
        assert finish["choices"][0]["finish_reason"] == "stop"
        assert done == "data: [DONE]"
    assert server.wait() == 0
    assert server.errors() == []


def test_a_stop_ends_streams_that_are_too_long(start_server: StartServer) -> None:
    """Twenty streams that would take longer than the grace are each told why they end; exit 0."""
    server = start_server(_SLOW % 0.5)
    for *_, last in stop_with_live_streams(server, 20, 3000):
        assert last["error"]["code"] == "shutting_down"
    assert server.wait() == 0
    assert server.errors() == []
