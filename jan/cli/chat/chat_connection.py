"""Requests of the chat and of imports over HTTP, one connection each."""

import http.client
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

import msgspec

from jan.cli.chat.chat_failures import (
    ChatError,
    is_page,
    lost,
    no_api,
    not_connected,
    refused,
    web_page,
    wrong_url,
)

T = TypeVar("T")

_CONNECT_SECONDS = 10.0
# The server sends a comment every few seconds while it works, so silence for this long means failure.
_SILENCE_SECONDS = 300.0
# More than any list or conversation has in one page.
_MOST_BYTES = 256 << 20


class ChatConnection:
    """Sends requests to one server. ``authorities``: a file of certificates to trust instead of the system's.

    ``agent`` names the program to the server. Raises ChatError for a URL, a key or a file that cannot be used.
    """

    def __init__(
        self, url: str, api_key: str | None = None, authorities: Path | None = None, *, agent: str = "jan-chat"
    ) -> None:
        self.url = url.rstrip("/")
        self.has_key = bool(api_key)
        self._parts = _checked(self.url)
        self._headers = {"Content-Type": "application/json", "User-Agent": agent}
        if api_key:
            if not (api_key.isascii() and api_key.isprintable()):
                raise ChatError(
                    "The API key has characters that no key has.", "Check JAN_API_KEY.", kind="bad_key"
                )
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._tls = _tls(authorities) if self._parts.scheme == "https" else None

    def fetch(self, form: type[T], method: str, path: str, body: object = None) -> T:
        """Send a request and return what it answers, read as ``form``. Raises ChatError."""
        with self.open(method, path, body) as response:
            data = response.read(_MOST_BYTES)
        try:
            return msgspec.json.decode(data, type=form)
        except msgspec.MsgspecError as error:
            if is_page(response.headers.get_content_type(), data):
                raise web_page(self.url, response.status, data) from error
            raise no_api(self.url, response.status) from error

    @contextmanager
    def open(
        self, method: str, path: str, body: object = None, *, silence: float = _SILENCE_SECONDS
    ) -> Iterator[HTTPResponse]:
        """Send a request and yield the response if it is a success. Leaving the block disconnects, which stops an
        answer that is not made in the background. ``silence``: the most seconds without a byte
        within the response. Raises ChatError."""
        with closing(self._connected()) as connection:
            answered, socket = False, connection.sock
            try:
                sent = None if body is None else msgspec.json.encode(body)
                connection.request(method, self._parts.path + path, sent, self._headers)
                response = connection.getresponse()
                answered = True
                socket.settimeout(silence)
                if not 200 <= response.status < 300:
                    raise refused(self.url, path, response, has_key=self.has_key)
                yield response
            except (OSError, http.client.HTTPException) as error:
                raise lost(self.url, error, answered=answered) from error

    def _connected(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        connection = (
            http.client.HTTPConnection(host, port, timeout=_CONNECT_SECONDS)
            if self._tls is None
            else http.client.HTTPSConnection(host, port, timeout=_CONNECT_SECONDS, context=self._tls)
        )
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise not_connected(self.url, error) from error
        connection.sock.settimeout(_SILENCE_SECONDS)
        return connection


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise wrong_url(url, f"is no URL: {error}") from error
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise wrong_url(url)
    if parts.username is not None:
        raise ChatError("The URL has a user name.", "Give the API key by JAN_API_KEY.", kind="wrong_url")
    return parts


def _tls(authorities: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authorities and authorities.expanduser())
    except OSError as error:
        reason = f"{authorities} is not a file of certificates ({error.strerror or error})."
        raise ChatError(reason, "Name a PEM file with --ca.", kind="bad_certificates") from error
