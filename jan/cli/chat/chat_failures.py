"""Failures between the chat and a server, each with a hint that says what to do."""

import json
import re
import socket
import ssl
from collections.abc import Mapping
from http.client import HTTPResponse
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from jan.cli.chat import program
from jan.schema.plain_text import printable
from jan.schema.suggest import did_you_mean

# More of an error's body tells a person nothing.
_MOST_BYTES = 1 << 16
_MOVED = (301, 302, 303, 307, 308)
_TITLE = re.compile(r"<title[^>]*>\s*(.*?)\s*</title", re.IGNORECASE | re.DOTALL)
# X.509 verification errors, by OpenSSL's numbers.
_EXPIRED, _OTHER_HOST, _OTHER_ADDRESS = 10, 62, 64

_HINTS: Mapping[str, str] = MappingProxyType(
    {
        "context_length_exceeded": "Ask something shorter, or begin a new conversation.",
        "insufficient_permissions": "Use a key with more permissions.",
    }
)


class ChatError(Exception):
    """No answer.

    Attributes:
        reason: a sentence that says what went wrong.
        hint: a sentence that says what to do; '' if nothing can be done.
        kind: the failure's name for programs, the server's own word where it gave one.
        status: the HTTP status; None if there was no response.
        retry_after: the seconds after which to ask again, if the server said so.
    """

    def __init__(
        self,
        reason: str,
        hint: str = "",
        *,
        kind: str,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{reason} {hint}".rstrip())
        self.reason = reason
        self.hint = hint
        self.kind = kind
        self.status = status
        self.retry_after = retry_after

    def line(self) -> str:
        """Return one line for a person. A server's words forge no other line."""
        return f"jan: {printable(str(self))}"

    def as_json(self) -> str:
        """Return one line of JSON for programs."""
        shown = {"message": self.reason, "hint": self.hint or None, "code": self.kind, "status": self.status}
        return json.dumps({"error": shown})


def wrong_url(url: str, why: str = "is not the URL of a server") -> ChatError:
    """Return the failure of a URL that no request can be sent to."""
    return ChatError(f"{url} {why}.", "Use one like http://127.0.0.1:8080/api/v1.", kind="wrong_url")


def not_connected(url: str, error: OSError) -> ChatError:
    """Return the failure of a connection that was not made."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(url, error)
    if isinstance(error, ssl.SSLError):
        hint = "If it serves plain HTTP, use a URL that begins with http://."
        return ChatError(f"The server at {url} does not speak HTTPS ({_short(error)}).", hint, kind="no_https")
    if isinstance(error, socket.gaierror):
        host = urlsplit(url).hostname
        return ChatError(f"The host '{host}' is unknown ({_short(error)}).", "Check --url.", kind="unknown_host")
    if isinstance(error, TimeoutError):
        hint = "Check --url, and that no firewall is in between."
        if url.startswith("https:"):
            hint = "Check --url, which begins with http:// where the server has no certificate."
        return ChatError(f"The server at {url} does not answer.", hint, kind="no_answer")
    hint = f"Start one with `{program()} serve`, or name another with --url."
    return ChatError(f"No server at {url} ({_short(error)}).", hint, kind="no_server")


def _untrusted(url: str, error: ssl.SSLCertVerificationError) -> ChatError:
    host = urlsplit(url).hostname
    hint = "If it is your server's own, name its file, or that of its authority, with --ca FILE or SSL_CERT_FILE."
    if error.verify_code == _EXPIRED:
        hint = "Renew it on the server, or set this machine's clock."
    elif error.verify_code in (_OTHER_HOST, _OTHER_ADDRESS):
        hint = "Use the host name that the certificate is for in --url."
    reason = f"The certificate of {host} is not trusted: {error.verify_message}."
    return ChatError(reason.replace("..", "."), hint, kind="untrusted_certificate")


def lost(url: str, error: Exception, *, answered: bool) -> ChatError:
    """Return the failure of a connection that broke. ``answered``: a response had begun."""
    reason = f"Lost connection to {url} ({_short(error)})."
    if isinstance(error, TimeoutError):
        return ChatError(f"The server at {url} sends nothing any more.", "Try again.", kind="connection_lost")
    if answered:
        return ChatError(reason, "Check that the server still runs, and try again.", kind="connection_lost")
    hint = "Check that it is a server of HTTP"
    hint += ", or use https:// if it serves HTTPS." if url.startswith("http:") else "."
    return ChatError(reason, hint, kind="connection_lost")


def with_offers(error: ChatError) -> ChatError:
    """Return the failure of a conversation that became too long, with the commands that help."""
    hint = "/retry short leaves out the oldest messages. /summary begins a new conversation with a summary."
    return ChatError(error.reason, hint, kind=error.kind, status=error.status)


def cut_off() -> ChatError:
    """Return the failure of an answer without an end."""
    return ChatError("The answer was cut off.", "The server closed the connection: try again.", kind="cut_off")


def bad_event() -> ChatError:
    """Return the failure of a stream that is none of an answer."""
    hint = "Check that the URL is that of an OpenAI-compatible API."
    return ChatError("The server sent an event that is not understood.", hint, kind="bad_event")


def _short(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")


def refused(url: str, path: str, response: HTTPResponse, *, has_key: bool) -> ChatError:
    """Return why the server refused a request, from its response."""
    status = response.status
    if status in _MOVED:
        place = response.headers.get("Location", "elsewhere").removesuffix(path)
        return ChatError(f"{url} has moved to {place}.", "Use that in --url.", kind="moved", status=status)
    body = response.read(_MOST_BYTES)
    if is_page(response.headers.get_content_type(), body):
        return web_page(url, status, body)
    told = _told(body)
    if status == 401:
        return _unauthorized(told, has_key)
    if status in (404, 405) and path == "/models":
        return no_api(url, status)
    if status in (404, 405) and path.startswith("/imports?"):
        return _no_imports(url, status)
    reason = told.get("message") or f"The server answered {status} {response.reason}."
    kind = str(told.get("code") or told.get("type") or "refused")
    hint = _HINTS.get(kind, "")
    if told.get("param") == "conversation_id" or (status == 404 and path.startswith("/conversations/")):
        hint = f"`{program()} chat --list` and /conversations list yours."
    waits = response.headers.get("Retry-After", "")
    retry_after = float(waits) if waits.isascii() and waits.isdigit() else None
    return ChatError(str(reason), hint, kind=kind, status=status, retry_after=retry_after)


def _told(body: bytes) -> dict[str, Any]:
    """Return the error of a body, in OpenAI's form or as a text."""
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return error if isinstance(error, dict) else {"message": str(error)}


def _unauthorized(told: Mapping[str, Any], has_key: bool) -> ChatError:
    reason = str(told.get("message") or "The server wants an API key.")
    made = f"An administrator makes one with `{program()} key add EMAIL --name NAME`."
    hint = f"Check JAN_API_KEY. {made}" if has_key else f"Set JAN_API_KEY or JAN_API_KEY_FILE. {made}"
    return ChatError(reason, hint, kind=str(told.get("code") or "unauthorized"), status=401)


def no_api(url: str, status: int | None = None) -> ChatError:
    """Return the failure of a URL without an API below it."""
    parts = urlsplit(url)
    base = f"{parts.scheme}://{parts.netloc}/api/v1"
    hint = f"Try --url {base}." if base != url else "Check the host and the port in --url."
    return ChatError(f"There is no API at {url}.", hint, kind="no_api", status=status)


def _no_imports(url: str, status: int) -> ChatError:
    hint = no_api(url).hint
    if hint.startswith("Check"):
        hint = "Its configuration may have turned that off: `jan import --user` needs no server."
    return ChatError(f"There is no API that imports at {url}.", hint, kind="no_api", status=status)


def is_page(media_type: str, body: bytes) -> bool:
    """Return True for a web page, which no API sends."""
    return media_type == "text/html" or body[:100].lstrip().lower().startswith((b"<!doctype", b"<html"))


def web_page(url: str, status: int, body: bytes) -> ChatError:
    """Return the failure of a URL that answers with a web page."""
    found = _TITLE.search(body.decode(errors="replace"))
    title = f", '{' '.join(found[1].split())[:80]}'" if found and found[1] else ""
    if status >= 500:
        hint = "A proxy sent it: check that the server behind it runs."
    elif status >= 400:
        hint = "A proxy or another program sent it: check --url."
    else:
        hint = f"The API's URL ends in /api/v1 as a rule: {no_api(url).hint}"
    return ChatError(
        f"{url} answered with a web page (status {status}{title}).", hint, kind="web_page", status=status
    )


def unknown_model(name: str, there: list[str]) -> ChatError:
    """Return the failure of a model that the server does not have."""
    reason = f"The server has no model '{name}'; available: {', '.join(there)}."
    return ChatError(reason, did_you_mean(name, there).strip(), kind="model_not_found")


def not_stored() -> ChatError:
    """Return the failure of somebody whose conversations the server does not keep."""
    hint = "Set JAN_API_KEY: it keeps those of users that it knows."
    return ChatError("The server keeps no conversations of yours.", hint, kind="not_stored")
