"""Stream made-up chunks with FastAPI and uvicorn, one each step. Arguments: port, file of one chunk's JSON."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

TEMPLATE = json.loads(Path(sys.argv[2]).read_text())
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}

app = FastAPI()


def frame(number: int, **fields: Any) -> str:
    """Encode one server-sent event."""
    return f"id: {number}\ndata: {json.dumps({**TEMPLATE, **fields}, separators=(',', ':'))}\n\n"


async def frames(tokens: int, step_seconds: float) -> AsyncIterator[str]:
    """Make an answer's frames. Each token waits for a model's step, or one turn of the loop if that is 0."""
    choice = {"index": 0, "logprobs": None, "finish_reason": None}
    yield frame(1, choices=[{**choice, "delta": {"role": "assistant", "content": ""}}])
    for number in range(tokens):
        await asyncio.sleep(step_seconds)
        yield frame(number + 2, choices=[{**choice, "delta": {"content": "wood "}}])
    yield frame(tokens + 2, choices=[{**choice, "delta": {}, "finish_reason": "stop"}])
    yield frame(tokens + 3, choices=[], usage={"completion_tokens": tokens})
    yield "data: [DONE]\n\n"


@app.get("/ready")
async def ready() -> dict[str, bool]:
    return {"ready": True}


@app.post("/v1/chat/completions")
async def chat(request: Request) -> StreamingResponse:
    body = await request.json()
    stream = frames(body["max_tokens"], body.get("step_seconds", 0))
    return StreamingResponse(stream, media_type="text/event-stream", headers=HEADERS)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools", log_level="warning")
