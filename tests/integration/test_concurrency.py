"""Many streams at once on the real model, through HTTP."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from support.server import EMBEDDER, MODEL, ServerProcess

pytestmark = pytest.mark.model

STREAMS = 8
TOKENS = 32


async def stream(client: httpx.AsyncClient, index: int, order: list[int], leave_after: int = 0) -> list[Any]:
    """Stream one answer, noting in ``order`` whose piece came; with ``leave_after`` leave in the middle."""
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": f"Count slowly from {index * 100}, one number a line."}],
        "max_tokens": TOKENS,
        # No end of the answer before its limit.
        "logit_bias": {"2": -100},
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    events: list[Any] = []
    async with client.stream("POST", "/api/v1/chat/completions", json=body) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                events.append(json.loads(line[6:]))
                order.append(index)
                if leave_after and len(events) > leave_after:
                    return events
    return events


def run_streams(server: ServerProcess, leave_after: dict[int, int]) -> tuple[list[list[Any]], list[int]]:
    order: list[int] = []

    async def main() -> list[list[Any]]:
        async with httpx.AsyncClient(base_url=server.url, timeout=120, trust_env=False) as client:
            tasks = (stream(client, index, order, leave_after.get(index, 0)) for index in range(STREAMS))
            return await asyncio.gather(*tasks)

    return asyncio.run(main()), order


def counters(client: httpx.Client) -> dict[str, float]:
    """The default model's engine counters, without prefix and labels."""
    lines = client.get("/metrics").text.splitlines()
    own = [line for line in lines if line.startswith("jan_engine_") and EMBEDDER not in line]
    found = (line.rsplit(" ", 1) for line in own)
    return {name.partition("{")[0].removeprefix("jan_engine_"): float(value) for name, value in found}


def test_eight_streams_interleave(model_server: ServerProcess) -> None:
    """While any stream runs, each of the other seven gets pieces too: they run together, not in turn."""
    results, order = run_streams(model_server, {})
    assert [events[-1]["usage"]["completion_tokens"] for events in results] == [TOKENS] * STREAMS
    for index in range(STREAMS):
        first = order.index(index)
        last = len(order) - 1 - order[::-1].index(index)
        assert set(order[first:last]) == set(range(STREAMS))


def test_clients_that_leave_free_their_slots(model_server: ServerProcess, model: httpx.Client) -> None:
    """Of eight streams four leave in the middle: their slots come free long before their answers would have
    ended, the other four finish unharmed, and the engine counts four cancellations."""
    before = counters(model)
    results, _ = run_streams(model_server, dict.fromkeys(range(4), 4))
    after = counters(model)
    for events in results[4:]:
        assert events[-1]["usage"]["completion_tokens"] == TOKENS
        assert [c["finish_reason"] for e in events for c in e["choices"]][-1] == "length"
    assert after["cancelled_total"] - before["cancelled_total"] == 4
    assert (after["running"], after["waiting"]) == (0, 0)
    generated = after["completion_tokens_total"] - before["completion_tokens_total"]
    assert generated < 4 * TOKENS + 4 * TOKENS / 2
