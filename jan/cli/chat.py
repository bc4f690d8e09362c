"""``jan chat``: a streamed conversation with a running server in the terminal.

Plain blocking code: a person and a model take turns, and Ctrl-C interrupts either.
"""

import http.client
import io
import json
import sys
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from jan.cli.terminal import say

_HELP = "Enter sends, /new starts over, /exit or Ctrl-D leaves, Ctrl-C stops an answer."
_CONNECT_SECONDS = 10.0
# The server sends a comment every few seconds while it works, so silence for this long means failure.
_SILENCE_SECONDS = 300.0


class ChatError(Exception):
    """One line that tells the person what went wrong."""


class ChatClient:
    """The two requests that a chat needs."""

    def __init__(self, url: str, api_key: str | None = None, temperature: float | None = None) -> None:
        self._url = url.rstrip("/")
        self._sampling = {} if temperature is None else {"temperature": temperature}
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    def models(self) -> list[str]:
        """List the ids of the server's models. Raises ChatError."""
        with self._request("GET", "/models") as response:
            try:
                return [str(model["id"]) for model in json.loads(response.read())["data"]]
            except (ValueError, KeyError, TypeError) as error:
                raise ChatError(
                    f"{self._url}/models gives no list of models. The URL must include the API's path, /api/v1."
                ) from error

    def stream(self, model: str, messages: list[dict[str, str]]) -> Generator[str, None, None]:
        """Yield the answer piece by piece. Closing the iterator stops it. Raises ChatError."""
        body = json.dumps({"model": model, "messages": messages, "stream": True, **self._sampling})
        with self._request("POST", "/chat/completions", body) as response:
            yield from _pieces(response)

    @contextmanager
    def _request(self, method: str, path: str, body: str | None = None) -> Iterator[http.client.HTTPResponse]:
        """Send a request and yield the response if it has status 200. Leaving the block disconnects, which stops
        the answer."""
        with closing(self._connection()) as connection:
            try:
                connection.connect()
            except OSError as error:
                raise ChatError(f"No server at {self._url} ({error}). Start one with `jan serve`.") from error
            try:
                assert connection.sock is not None
                connection.sock.settimeout(_SILENCE_SECONDS)
                connection.request(method, urlsplit(self._url).path + path, body, self._headers)
                response = connection.getresponse()
                if response.status == 404 and path == "/models":
                    raise ChatError(f"There is no API at {self._url}. Its base URL ends in /api/v1 as a rule.")
                if response.status != 200:
                    raise ChatError(_reason(response))
                yield response
            except (OSError, http.client.HTTPException) as error:
                raise ChatError(f"Lost connection to {self._url} ({error or type(error).__name__}).") from error

    def _connection(self) -> http.client.HTTPConnection:
        try:
            parts = urlsplit(self._url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ChatError(f"{self._url}: {error}") from error
        if parts.scheme not in ("http", "https") or not host:
            raise ChatError(f"{self._url} is not the URL of a server. Use one like http://127.0.0.1:8080/api/v1.")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(host, port, timeout=_CONNECT_SECONDS)


def _pieces(response: http.client.HTTPResponse) -> Iterator[str]:
    """Yield the texts of a stream of events."""
    for line in response:
        data = line.removeprefix(b"data: ").strip()
        if data == b"[DONE]":
            return
        if line.startswith(b"data: "):
            yield from _texts(json.loads(data))
    raise ChatError("The answer was cut off. The server closed the connection.")


def _texts(event: dict[str, Any]) -> Iterator[str]:
    if "error" in event:
        raise ChatError(event["error"]["message"])
    for choice in event["choices"]:
        yield choice["delta"].get("content") or ""


def _reason(response: http.client.HTTPResponse) -> str:
    try:
        error = json.loads(response.read())["error"]
        hint = " Type /new to start over." if error["code"] == "context_length_exceeded" else ""
        return f"{error['message']}{hint}"
    except (ValueError, KeyError, TypeError):
        return f"The server answered {response.status} {response.reason}."


def run_chat(client: ChatClient, model: str | None, system: str | None) -> int:
    """Run the conversation; return the exit code."""
    try:
        model = _choose(client.models(), model)
    except ChatError as error:
        say(f"jan: {error}", err=True)
        return 1
    interactive = sys.stdin.isatty()
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    if interactive:
        _edit_lines()
        say(f"Talking with {model}.\n{_HELP}")
    return _ChatSession(client, model, system).run(interactive)


def _choose(there: list[str], wanted: str | None) -> str:
    if not there:
        raise ChatError("The server has no model.")
    if wanted is not None and wanted not in there:
        raise ChatError(f"The server has no model '{wanted}'; available: {', '.join(there)}.")
    return wanted or there[0]


def _edit_lines() -> None:
    """Give the prompt arrow keys and a history if Python supports them."""
    with suppress(ImportError):
        import readline  # noqa: F401  # input() uses it once it is imported


class _ChatSession:
    def __init__(self, client: ChatClient, model: str, system: str | None) -> None:
        self._client = client
        self._model = model
        self._beginning = [{"role": "system", "content": system}] if system else []
        self._messages = list(self._beginning)

    def run(self, interactive: bool) -> int:
        """Take turns until the person leaves; return the exit code.

        For a program it says whether the last question was answered. A person has seen that, so it is 0.
        """
        answered = True
        while (line := _ask(interactive)) not in (None, "/exit"):
            if line == "/new":
                self._messages = list(self._beginning)
                say("A new conversation.")
            elif line:
                answered = self._answer(line)
        return 0 if answered or interactive else 1

    def _answer(self, question: str) -> bool:
        """Show the answer to a question and remember both. A question without an answer is forgotten."""
        asked = [*self._messages, {"role": "user", "content": question}]
        shown: list[str] = []
        answered = True
        try:
            with closing(self._client.stream(self._model, asked)) as pieces:
                for piece in pieces:
                    shown.append(piece)
                    say(piece, nl=False)
            say()
        except KeyboardInterrupt:
            say("\n(stopped)")
        except ChatError as error:
            answered = False
            say(f"{chr(10) * any(shown)}jan: {error}", err=True)
        if any(shown):
            self._messages = [*asked, {"role": "assistant", "content": "".join(shown)}]
        return answered


def _ask(interactive: bool) -> str | None:
    """Read a line from the person; None at the end of the input."""
    while interactive:
        try:
            return input("\n> ").strip()
        except EOFError:
            say()
            return None
        except KeyboardInterrupt:
            say("\n(/exit or Ctrl-D leaves)", nl=False)
    line = sys.stdin.readline()
    return line.strip() if line else None
