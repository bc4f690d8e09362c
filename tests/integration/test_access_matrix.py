"""Who may call what: every URL and method of the route table with every kind of credential."""

import json
import re
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
import yaml
from support.credentials import KINDS, Kind
from support.server import DEFAULT_CONFIG

from jan.errors import Unavailable
from jan.operation import Operation
from jan.routing.table import Route, resolve_routes
from jan.schema.scopes import USER_SCOPES
from jan.settings import ANYONE
from jan.settings.load import load_settings
from jan.testing import ThreadServer, served

ADMITTED = "admitted"
LACKING = "403 insufficient_permissions"
# A key may do this only if it can do all that its user's sessions can.
AS_MUCH_AS_A_SESSION = ("auth.logout_everywhere", "user.profile", "user.sessions.one")
FOREIGN = "403 cross_site_request"
# A public operation that takes the token itself, also one that has expired a moment ago.
JUDGES_TOKENS = "auth.refresh"
TAKES = ("user's session", "administrator's session", "token for exchange")


class Answer(NamedTuple):
    """A status, and the code of an error."""

    status: int
    code: str

    @property
    def verdict(self) -> str:
        """The outcome of the check of access."""
        return f"{self.status} {self.code}".strip() if self.status in (401, 403) else ADMITTED


class Guarded:
    """A server that judges, with one setting for callers without credentials."""

    def __init__(self, server: ThreadServer, anonymous: str) -> None:
        self.anonymous = anonymous
        self._server = server
        self._connection = HTTPConnection(urlsplit(server.url).netloc, timeout=60)
        self._made = {name: self.fresh(kind) for name, kind in KINDS.items()}

    def close(self) -> None:
        """Close the connection that all calls share."""
        self._connection.close()

    def fresh(self, kind: Kind) -> str | None:
        """A new credential of a kind."""
        return self._server.run(kind.make(self._server.application.services))

    def call(self, method: str, path: str, name: str, *, used_up: bool, body: bytes | None) -> Answer:
        """Call with a kind of credential: with a new one if the call may use it up."""
        kind = KINDS[name]
        credential = self.fresh(kind) if used_up else self._made[name]
        cookie = self._server.application.services.cookies.name
        headers = kind.headers(credential, cookie, self._server.url)
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        text = response.read()
        if response.status not in (401, 403) or not text:
            return Answer(response.status, "")
        body = json.loads(text)
        envelope = body["error"] if isinstance(body["error"], dict) else body  # Ollama's errors are flat
        return Answer(response.status, envelope["code"])


@pytest.fixture(scope="module", params=["on-loopback", "refuse", ANYONE])
def guarded(request: pytest.FixtureRequest) -> Iterator[Guarded]:
    with served(f"access: {{anonymous: {request.param}}}") as server:
        guarded = Guarded(server, request.param)
        yield guarded
        guarded.close()
        assert server.errors == []


def table() -> list[Route]:
    settings = load_settings(DEFAULT_CONFIG, environ={})
    return resolve_routes(settings.served_routes, settings.server.api_prefixes)


CALLS = [(route, method) for route in table() for method in route.operations]


def expected(route: Route, operation: Operation, name: str, anonymous: str) -> str:
    """The outcome, from what the operation declares."""
    access, kind = operation.access, KINDS[name]
    if route.name == JUDGES_TOKENS:
        return ADMITTED if name in TAKES else "401"
    if access.scope is None:
        # Pages of this server sign out and see who is signed in. Without a cookie nothing can be seen.
        sees = route.name == "auth.session" and operation.name == "get" and kind.in_cookie
        own_page = kind.in_cookie and not kind.foreign
        return FOREIGN if (sees or operation.ends_credentials) and not own_page else ADMITTED
    if kind.foreign:
        return FOREIGN
    if kind.is_none and access.anonymous:
        open_to_anyone = anonymous == ANYONE and not access.loopback
        if open_to_anyone or (anonymous == "on-loopback" and not kind.proxied):
            return ADMITTED
    if kind.refusal:
        return f"401 {kind.refusal}"
    if access.scope not in kind.scopes:
        return LACKING
    if access.scope == "keys" and name.startswith("replaced key") and operation.request is None:
        return LACKING  # a body is read first
    if (
        access.scope == "keys"
        and route.name in AS_MUCH_AS_A_SESSION
        and not kind.is_session
        and not kind.scopes >= USER_SCOPES
    ):
        return LACKING
    return ADMITTED


def kinds_of(route: Route, operation: Operation, anonymous: str) -> list[str]:
    """The kinds that are tried: all of them under one of the settings, which differ for callers without
    credentials, and for whoever could be taken for one."""
    whole = "refuse" if route.is_alias else "on-loopback"
    every = anonymous == whole or (operation.access.anonymous and operation.access.scope and not route.is_alias)
    return [name for name, kind in KINDS.items() if every or kind.is_none]


@pytest.mark.parametrize(("route", "method"), CALLS, ids=[f"{method} {route.path}" for route, method in CALLS])
def test_the_matrix(guarded: Guarded, route: Route, method: str) -> None:
    """Whom an operation admits follows from its declaration alone: 401 with the reason for whoever is not known,
    403 for whoever lacks the permission, and for all others what their broken body or unknown id deserves."""
    operation = route.operations[method]
    path = re.sub(r"\{[^}]+\}", "nothing", route.path)
    # Neither JSON nor a file that has text.
    body = None if operation.request is None else b"\0"
    wanted = {
        name: expected(route, operation, name, guarded.anonymous)
        for name in kinds_of(route, operation, guarded.anonymous)
    }
    found: dict[str, str] = {}
    for name, verdict in wanted.items():
        used_up = verdict == ADMITTED and (operation.ends_credentials or route.name == JUDGES_TOKENS)
        answer = guarded.call(method, path, name, used_up=used_up, body=body)
        found[name] = answer.verdict
        if answer.verdict == ADMITTED:
            assert body is None or answer.status == 400, (name, answer)
            assert answer.status < 500 or Unavailable in operation.errors, (name, answer)
    if route.name == JUDGES_TOKENS:  # the codes are its own
        wanted, found = ({name: words.split()[0] for name, words in of.items()} for of in (wanted, found))
    assert found == wanted
    if method == "GET":
        for name in ("none", "key with write", "administrator's session"):
            statuses = [
                guarded.call(verb, path, name, used_up=False, body=None).status for verb in ("GET", "HEAD")
            ]
            assert statuses[0] == statuses[1]


def test_what_is_not_declared_is_served_to_nobody(guarded: Guarded) -> None:
    """A method without an operation is refused, whoever asks."""
    for route in {route.path: route for route, _ in CALLS if not route.is_alias}.values():
        path = re.sub(r"\{[^}]+\}", "nothing", route.path)
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"}.difference(route.operations):
            answer = guarded.call(method, path, "administrator's session", used_up=False, body=b"")
            assert answer.status == 405, (method, path)


def test_every_route_of_the_file_is_in_the_matrix() -> None:
    """The default configuration has no route that the matrix leaves out, by any prefix."""
    written = yaml.safe_load(DEFAULT_CONFIG.read_text())["routes"]
    assert {route["name"] for route in written} == {route.name for route, _ in CALLS}
    paths = [entry["path"].replace("{api}", prefix) for entry in written for prefix in ("/api/v1", "/v1")]
    assert set(paths) == {route.path for route, _ in CALLS}
