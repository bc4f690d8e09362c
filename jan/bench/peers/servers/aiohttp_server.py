"""Stream made-up chunks with aiohttp, one each step. Arguments: port, file of one chunk's JSON."""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiohttp import web

TEMPLATE = json.loads(Path(sys.argv[2]).read_text())
HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def frame(number: int, **fields: Any) -> bytes:
    """Encode one server-sent event."""
    return f"id: {number}\ndata: {json.dumps({**TEMPLATE, **fields}, separators=(',', ':'))}\n\n".encode()


def frames(tokens: int) -> Iterator[bytes]:
    """Make the frames of an answer of ``tokens`` tokens."""
    choice = {"index": 0, "logprobs": None, "finish_reason": None}
    yield frame(1, choices=[{**choice, "delta": {"role": "assistant", "content": ""}}])
    for number in range(tokens):
        yield frame(number + 2, choices=[{**choice, "delta": {"content": "wood "}}])
    yield frame(tokens + 2, choices=[{**choice, "delta": {}, "finish_reason": "stop"}])
    yield frame(tokens + 3, choices=[], usage={"completion_tokens": tokens})
    yield b"data: [DONE]\n\n"


async def chat(request: web.Request) -> web.StreamResponse:
    """Stream one answer. Each token waits for a model's step, or for a turn of the loop if that takes no time."""
    body = await request.json()
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    for data in frames(body["max_tokens"]):
        await asyncio.sleep(body.get("step_seconds", 0))
        await response.write(data)
    await response.write_eof()
    return response


async def ready(request: web.Request) -> web.Response:
    return web.json_response({"ready": True})


if __name__ == "__main__":
    app = web.Application()
    app.add_routes([web.get("/ready", ready), web.post("/v1/chat/completions", chat)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
