"""No cache, browser or proxy, keeps an answer: not one of a URL of the table, whoever calls it."""

import httpx
import pytest
from support.conversation import bearer
from support.server import DEFAULT_CONFIG, ServerProcess, http_client

from jan.routing.table import Route, resolve_routes
from jan.settings.load import load_settings

# Files that are the same for everybody.
KEPT = ("docs.swagger",)


def routes() -> list[Route]:
    settings = load_settings(DEFAULT_CONFIG, environ={})
    return resolve_routes(settings.routes, settings.server.api_prefixes)


CALLS = [(route, method) for route in routes() for method in route.operations if not route.is_alias]


@pytest.fixture(scope="module")
def weak_key(echo_server: ServerProcess) -> str:
    """A key of the administrator's that can do less than their sessions."""
    with http_client(echo_server, headers=bearer(echo_server.admin_key)) as client:
        made = client.post("/api/v1/user/api-keys", json={"name": "weak", "permissions": ["keys"]})
    found: str = made.json()["key"]
    return found


@pytest.mark.parametrize(("route", "method"), CALLS, ids=[f"{m} {route.path}" for route, m in CALLS])
def test_no_answer_is_kept(echo_server: ServerProcess, weak_key: str, route: Route, method: str) -> None:
    """Whether it succeeds or is refused, and also for a preflight."""
    path = (
        route.path.replace("{api}", "/api/v1").replace("{file}", "index.html").replace("{model_id:path}", "echo")
    )
    for name in ("{key_id}", "{user_id}", "{conversation_id}", "{message_id}", "{item_id}", "{completion_id}"):
        path = path.replace(name, "other_0")
    operation = route.operations[method]
    body = b"{}" if operation.request is not None else None
    # What could end the account that others test with gets a key that may not.
    key = weak_key if operation.ends_credentials else echo_server.admin_key
    with http_client(echo_server) as client:
        for headers in ({}, bearer(key)):
            answer = client.request(method, path, headers=headers, content=body)
            kept = route.name in KEPT and answer.status_code == 200
            assert answer.headers.get_list("cache-control") == ["max-age=3600" if kept else "no-store"]
        preflight = client.options(
            path, headers={"Origin": "https://a.example", "Access-Control-Request-Method": method}
        )
        assert preflight.headers["cache-control"] == "no-store"


def test_no_answer_of_an_unknown_url_is_kept(echo: httpx.Client) -> None:
    """Nor that of a wrong method."""
    for answer in (echo.get("/api/v1/nothing"), echo.delete("/health"), echo.get("/api/v1/user/profile")):
        assert answer.status_code in (401, 404, 405)
        assert answer.headers["cache-control"] == "no-store"
