"""Who may call what: every route of the table against every kind of credentials."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from support.server import DEFAULT_CONFIG, ECHO_CONFIG, ServerProcess, http_client

from jan.people.assembly import People, make_keyring, make_people
from jan.routing.table import Route, resolve_routes
from jan.schema.scopes import Scope
from jan.settings import ANYONE
from jan.settings.load import load_settings
from jan.storage import Store, store_from_url
from jan.storage.records import User, UserChanges

SCOPES: tuple[Scope, ...] = ("read", "write", "inference", "keys", "admin")
# A key needs all permissions of its user's sessions to end them: test_key_management.py.
ENDS_SESSIONS = "auth.logout_everywhere"


def routes() -> list[Route]:
    settings = load_settings(DEFAULT_CONFIG, environ={})
    return resolve_routes(settings.routes, settings.server.api_prefixes)


CALLS = [(route, method) for route in routes() for method in route.operations if not route.is_alias]

# They judge what they are sent themselves: test_tokens.py, test_google_sign_in.py.
OWN_JUDGES = ("auth.refresh", "auth.google", "auth.google.callback")
JUDGED = [(route, method) for route, method in CALLS if route.name not in OWN_JUDGES]


class Callers:
    """Credentials of every kind, made in the server's own store."""

    def __init__(self, config: Path) -> None:
        self._settings = load_settings(config)
        self.credentials: dict[str, str] = {"wrong key": "jan_wrong", "wrong token": "a.b.c", "placeholder": "x"}
        asyncio.run(self._make())

    async def _make(self) -> None:
        keyring = make_keyring(self._settings)
        keyring.load()
        store = store_from_url(self._settings.storage_url)
        await store.open()
        try:
            await self._fill(store, make_people(self._settings.auth, store, keyring))
        finally:
            await store.close()

    async def _fill(self, store: Store, people: People) -> None:
        admin = User(email="boss@example.org", role="admin")
        disabled = User(email="gone@example.org", role="admin")
        # With a session of its own, which the keys' sign-out does not end.
        person = User(email="person@example.org", role="admin")
        for user in (admin, disabled, person):
            await store.users.create(user)
        for scope in SCOPES:
            self.credentials[scope] = (await people.keys.create(admin.id, scope, (scope,))).secret
        self.credentials["disabled key"] = (await people.keys.create(disabled.id, "k", SCOPES)).secret
        self.credentials["disabled token"] = (await people.sessions.sign_in(disabled)).token
        await store.users.update(disabled.id, UserChanges(disabled=True))
        revoked = await people.keys.create(admin.id, "r", SCOPES)
        self.credentials["revoked key"] = revoked.secret
        await people.keys.revoke(admin.id, revoked.record.id)
        self.credentials["token"] = (await people.sessions.sign_in(person)).token


@pytest.fixture(scope="module", params=["on-loopback", "refuse"])
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server with callers, by its setting for anonymous callers."""
    folder = tmp_path_factory.mktemp("access")
    config = folder / "jan.yaml"
    config.write_text(f"{ECHO_CONFIG}\naccess: {{anonymous: {request.param}}}\ndata: {folder}/data\n")
    server = ServerProcess(config)
    callers = Callers(config)
    with http_client(server) as client:
        yield client, callers.credentials, request.param
    assert server.stop() == 0
    assert server.errors() == []


def call(client: httpx.Client, route: Route, method: str, credential: str | None) -> httpx.Response:
    """Call a route with a body that is refused only after the access check."""
    path = route.path.replace("{api}", "/api/v1")
    for name in ("{file}", "{model_id:path}"):
        path = path.replace(name, "nothing")
    path = path.replace("{key_id}", "key_0").replace("{user_id}", "user_0").replace("{conversation_id}", "conv_0")
    headers = {"Authorization": f"Bearer {credential}"} if credential else {}
    body = b"not json" if route.operations[method].request is not None else None
    return client.request(method, path, headers=headers, content=body)


@pytest.mark.parametrize(("route", "method"), JUDGED, ids=[f"{m} {route.path}" for route, m in JUDGED])
def test_the_matrix(guarded: Any, route: Route, method: str) -> None:
    """Public: anybody, whatever they send. Otherwise: without credentials, or with the placeholder of somebody
    who has none, as configured; 401 for credentials that are not good, 403 naming the permission that a key
    lacks; with it anything but these two."""
    client, credentials, anonymous = guarded
    access = route.operations[method].access
    for kind, credential in {"none": None, **credentials}.items():
        if kind == "token" and route.name.startswith("auth.logout"):
            continue  # it would end the session that the other cases use
        status = call(client, route, method, credential).status_code
        if access.scope is None:
            allowed = True
        elif kind in ("none", "placeholder"):
            open_to = ("on-loopback",) if access.loopback else ("on-loopback", ANYONE)
            allowed = access.anonymous and anonymous in open_to
            assert allowed or status == 401, kind
        elif kind in SCOPES or kind == "token":
            allowed = kind in ("token", access.scope) and route.name != ENDS_SESSIONS
            assert allowed or status == 403, kind
        else:
            allowed = False
            assert status == 401, kind
        if allowed:
            assert status not in (401, 403), kind
            assert status < 500 or route.name == "ready", kind


def test_the_default_table_is_complete() -> None:
    """Every route of the YAML file is in the matrix."""
    table = yaml.safe_load(DEFAULT_CONFIG.read_text())["routes"]
    assert {route["name"] for route in table} == {route.name for route, _ in CALLS}


def test_a_missing_permission_is_named(guarded: Any) -> None:
    """403 says which permission is missing and which are there."""
    client, credentials, _ = guarded
    refused = client.get("/api/v1/user/profile", headers={"Authorization": f"Bearer {credentials['write']}"})
    assert refused.status_code == 403
    assert "'read'" in refused.json()["error"]["message"]
    assert "have: write" in refused.json()["error"]["message"]


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "jan_x", "Bearer a b c"])
def test_malformed_authorization(guarded: Any, header: str) -> None:
    """Where credentials are needed, a header that is no bearer token is 401 with the form that is expected."""
    client, _, _ = guarded
    refused = client.get("/api/v1/user/profile", headers={"Authorization": header})
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", ["x-api-key", "api-key", "X-API-KEY"])
def test_the_headers_of_other_clients_carry_credentials(guarded: Any, header: str) -> None:
    """A key works in the headers of Anthropic's and Azure's clients as it does after Bearer. A wrong one is 401,
    also where no credentials are needed."""
    client, credentials, _ = guarded
    right, wrong = ({header: credentials[name]} for name in ("read", "wrong key"))
    assert client.get("/api/v1/user/profile", headers=right).status_code == 200
    assert client.post("/api/v1/users", headers=right, json={"email": "a@example.org"}).status_code == 403
    for path in ("/api/v1/user/profile", "/api/v1/models"):
        assert client.get(path, headers=wrong).json()["error"]["code"] == "invalid_api_key"


def test_one_credential_counts(guarded: Any) -> None:
    """Authorization wins over the other headers. If those two differ, nobody guesses which one is meant."""
    client, credentials, _ = guarded
    bearer = {"Authorization": f"Bearer {credentials['read']}"}
    one, other = {"x-api-key": credentials["write"]}, {"api-key": credentials["read"]}

    def code(headers: dict[str, str]) -> str | None:
        error: dict[str, str] = client.get("/api/v1/user/profile", headers=headers).json().get("error", {})
        return error.get("code")

    assert code({**bearer, **one, "api-key": "jan_wrong"}) is None
    assert code({**other, "Authorization": f"Bearer {credentials['wrong key']}"}) == "invalid_api_key"
    assert code({**other, "x-api-key": credentials["read"]}) is None
    assert code({**one, **other}) == "conflicting_credentials"
    refused = client.get("/api/v1/models", headers={**one, **other})
    assert refused.status_code == 401
    assert credentials["read"] not in refused.text
