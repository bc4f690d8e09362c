"""``jan chat``: a conversation in the terminal with a running server, streamed."""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import click
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse

_HELP = "Enter sends, /new starts over, /exit or Ctrl-D leaves, Ctrl-C stops an answer."
_PATIENCE_SECONDS = 600.0


class ChatError(Exception):
    """What to tell the person; one line."""


class ChatClient:
    """The few requests that a chat needs."""

    def __init__(self, url: str, api_key: str | None) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._http = AsyncHTTPClient(force_instance=True)

    async def models(self) -> list[str]:
        """The ids that the server has; raises ChatError."""
        response = await self._fetch(HTTPRequest(f"{self._url}/models", headers=self._headers))
        return [model["id"] for model in json.loads(response.body)["data"]]

    async def stream(self, model: str, messages: list[dict[str, str]], show: Callable[[str], None]) -> str:
        """Ask, pass each piece of the answer to ``show``; returns the whole. Raises ChatError."""
        reader = _EventReader(show)
        request = HTTPRequest(
            f"{self._url}/chat/completions",
            method="POST",
            headers=self._headers,
            body=json.dumps({"model": model, "messages": messages, "stream": True}),
            streaming_callback=reader.feed,
            request_timeout=_PATIENCE_SECONDS,
        )
        await self._fetch(request, reader)
        if reader.error:
            raise ChatError(reader.error)
        return reader.text

    async def _fetch(self, request: HTTPRequest, reader: "_EventReader | None" = None) -> HTTPResponse:
        try:
            return await self._http.fetch(request)
        except HTTPClientError as error:
            body = error.response.body if error.response is not None else b""
            raise ChatError(_reason(body or (reader.rest if reader else b""), error)) from error
        except OSError as error:
            raise ChatError(f"no server at {self._url} ({error}); start one with: jan serve") from error


class _EventReader:
    """Server-sent events in pieces of any size."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self.rest = b""
        self.text = ""
        self.error = ""

    def feed(self, chunk: bytes) -> None:
        """More bytes."""
        *events, self.rest = (self.rest + chunk).split(b"\n\n")
        for event in events:
            if event.startswith(b"data: ") and event != b"data: [DONE]":
                self._event(json.loads(event[6:]))

    def _event(self, event: dict[str, Any]) -> None:
        if "error" in event:
            self.error = event["error"]["message"]
        for choice in event.get("choices", []):
            piece = choice["delta"].get("content") or ""
            self.text += piece
            self._show(piece)


def _reason(body: bytes, error: Exception) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return str(error)


async def run_chat(client: ChatClient, model: str | None, system: str | None) -> int:
    """The conversation; returns the exit code."""
    try:
        model = model or (await client.models())[0]
    except (ChatError, IndexError) as error:
        click.echo(f"jan: {error or 'the server has no model'}", err=True)
        return 1
    click.echo(f"Talking with {model}. {_HELP}")
    beginning = [{"role": "system", "content": system}] if system else []
    messages = list(beginning)
    while (line := await asyncio.to_thread(_ask)) not in (None, "/exit"):
        if line == "/new":
            messages = list(beginning)
        elif line:
            messages.append({"role": "user", "content": line})
            messages += await _answer(client, model, messages)
    return 0


async def _answer(client: ChatClient, model: str, messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """Show the answer; returns it as a message, or nothing if there was none."""
    try:
        text = await client.stream(model, messages, lambda piece: click.echo(piece, nl=False))
    except ChatError as error:
        messages.pop()
        click.echo(f"\njan: {error}", err=True)
        return []
    click.echo()
    return [{"role": "assistant", "content": text}]


def _ask() -> str | None:
    """A line from the person; None at the end of the input."""
    if sys.stdin.isatty():
        click.echo("\n> ", nl=False)
    line = sys.stdin.readline()
    return line.strip() if line else None
