"""The sites whose pages may call, and the names under which the server is reached."""

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from support.server import ECHO_CONFIG, ServerProcess, http_client

from jan.errors import ConfigurationError
from jan.settings.load import load_settings
from jan.testing import served

CHAT = "/api/v1/chat/completions"
BODY = '{"model": "echo", "messages": [{"role": "user", "content": "hi"}]}'
APP = "https://app.example.com"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server on loopback whose configuration names one other site."""
    config = tmp_path_factory.mktemp("origins") / "jan.yaml"
    own = f"keepalive_seconds: 0.2, cors_origins: ['{APP}']"
    config.write_text(ECHO_CONFIG.replace("keepalive_seconds: 0.2", own))
    started = ServerProcess(config)
    yield started
    assert started.stop() == 0
    assert started.errors() == []


@pytest.fixture(scope="module")
def site(server: ServerProcess) -> Iterator[httpx.Client]:
    with http_client(server) as client:
        yield client


@pytest.fixture(scope="module")
def named() -> Iterator[httpx.Client]:
    """A client of a server on loopback whose configuration names another host."""
    with served("server: {trusted_hosts: [jan.example.com]}") as started:
        yield started.client
        assert started.errors == []


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A port of this machine that nobody is meant to connect to."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1:8080", "[::1]:80", "jan.example.com"])
def test_own_names_are_served(named: httpx.Client, host: str) -> None:
    """Loopback names with any port, and those that the configuration has."""
    assert named.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8080"])
@pytest.mark.parametrize("path", ["/health", "/api/v1/models", "/nowhere", "/api/swagger/index.html"])
def test_other_names_are_refused(named: httpx.Client, host: str, path: str) -> None:
    """A name that was made to lead here is 400, which says what is allowed."""
    refusal = named.get(path, headers={"Host": host})
    assert refusal.status_code == 400
    assert refusal.json()["error"]["code"] == "host_not_allowed"
    assert "localhost" in refusal.json()["error"]["message"]


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": f"{APP}.evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/json"])
def test_other_sites_pages_spend_nothing(site: httpx.Client, headers: dict[str, str], kind: str) -> None:
    """Requests that any page can make a browser send are refused without credentials."""
    for extra in ({}, {"Authorization": "Bearer placeholder"}):
        refusal = site.post(CHAT, content=BODY, headers={"Content-Type": kind, **headers, **extra})
        assert refusal.status_code == 403
        assert refusal.json()["error"]["code"] == "cross_site_request"


def test_with_credentials_they_may_ask(server: ServerProcess, site: httpx.Client) -> None:
    """Who shows a key is judged by the key."""
    headers = {"Origin": "https://evil.example", "Authorization": f"Bearer {server.admin_key}"}
    answer = site.post(CHAT, content=BODY, headers=headers)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("headers", [{}, {"Origin": APP}, {"Origin": "own"}, {"Sec-Fetch-Site": "same-origin"}])
@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "application/json"])
def test_programs_and_own_pages_are_served(
    server: ServerProcess, site: httpx.Client, headers: dict[str, str], kind: str
) -> None:
    """curl -d, the server's own pages and the sites that the configuration names."""
    given = {name: server.url if value == "own" else value for name, value in headers.items()}
    assert site.post(CHAT, content=BODY, headers={"Content-Type": kind, **given}).status_code == 200


def test_pages_say_nothing_of_where_they_were(site: httpx.Client) -> None:
    """Other sites hear no address of this server from links on its pages, and can't put them into frames."""
    headers = site.get("/api/swagger/index.html").headers
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_links_from_other_sites_work(site: httpx.Client) -> None:
    """Following a link is no call: it spends nothing and shows other sites nothing."""
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert site.get("/api/swagger/index.html", headers=headers).status_code == 200
    assert site.get("/api/v1/models", headers=headers).status_code == 200
    assert site.get("/auth/google/callback", headers=headers).json()["error"]["code"] != "cross_site_request"


def test_preflight(site: httpx.Client) -> None:
    """A named site's page is told methods and headers, never *, and never that cookies may come along."""
    asked = {"Origin": APP, "Access-Control-Request-Method": "POST"}
    answer = site.options(CHAT, headers=asked)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["vary"] == "Origin"
    assert "POST" in answer.headers["access-control-allow-methods"]
    for name in ("Authorization", "x-api-key", "api-key", "traceparent"):
        assert name in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("path", ["/health", "/nowhere", "/api/v1/user/profile"])
def test_named_sites_see_answers_and_errors(site: httpx.Client, path: str) -> None:
    """Every answer to a named site's page can be read by it, with the headers that SDKs want."""
    answer = site.get(path, headers={"Origin": APP})
    assert answer.headers["access-control-allow-origin"] == APP
    shown = answer.headers["access-control-expose-headers"].split(", ")
    assert {"X-Request-Id", "X-Jan-Ignored", "X-Jan-Relaxed"} <= set(shown)


def test_named_sites_see_that_the_server_stops(tmp_path: Path) -> None:
    """The refusal while it shuts down can be read as any other."""
    config = tmp_path / "jan.yaml"
    config.write_text(ECHO_CONFIG.replace("grace_seconds: 5", f"grace_seconds: 5, cors_origins: ['{APP}']"))
    server = ServerProcess(config)
    long = {"model": "slow", "stream": True, "messages": [{"role": "user", "content": "word " * 1000}]}
    try:
        with http_client(server) as client, client.stream("POST", CHAT, json=long) as stream:
            lines = stream.iter_lines()
            next(lines)
            with http_client(server) as page:
                assert page.get("/health").status_code == 200
                server.signal(signal.SIGTERM)
                for _ in range(600):
                    if any(entry["event"] == "stopping" for entry in server.log):
                        break
                    time.sleep(0.01)
                refusal = page.get("/health", headers={"Origin": APP})
            assert (refusal.status_code, refusal.json()["error"]["code"]) == (503, "shutting_down")
            assert refusal.headers["access-control-allow-origin"] == APP
        assert server.wait() == 0
    finally:
        server.kill_if_running()


def test_others_see_nothing(site: httpx.Client, echo: httpx.Client) -> None:
    """No permission for other sites; none for anybody on a server that names none."""
    for client, origin in ((site, "https://evil.example"), (site, "null"), (echo, APP)):
        for answer in (client.get("/health", headers={"Origin": origin}), client.options(CHAT)):
            assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("cors_origins: ['*']", "without *"),
        ("cors_origins: ['https://app.example.com/']", "without path"),
        ("cors_origins: ['null']", "not exactly one origin"),
        ("trusted_hosts: ['jan.example.com:80']", "without port"),
    ],
)
def test_settings_are_exact(tmp_path: Path, settings: str, told: str) -> None:
    """Text that is not exactly one origin or host name is refused at start-up."""
    config = tmp_path / "jan.yaml"
    config.write_text(f"server: {{{settings}}}")
    with pytest.raises(ConfigurationError, match=told.replace("*", r"\*")):
        load_settings(config)


def test_images_are_not_fetched(echo: httpx.Client, listener: socket.socket) -> None:
    """No parameter makes the server connect to somewhere: an image's URL is refused unread."""
    port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}/x.png"
    parts = [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": url}}]
    for extra in ({}, {"url": url, "file": url, "tools": [], "metadata": {"callback": url}}):
        body = {"model": "echo", "messages": [{"role": "user", "content": parts}], **extra}
        assert echo.post(CHAT, json=body).status_code == 400
    schema = {"$ref": url, "$schema": url, "$id": url}
    shape = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    body = {"model": "echo", "messages": [{"role": "user", "content": "hi"}], "response_format": shape}
    assert echo.post(CHAT, json=body).status_code < 500
    returning = echo.get("/auth/google", params={"return_to": url}, follow_redirects=False)
    assert urlsplit(returning.headers.get("location", "")).port != port
    with pytest.raises(BlockingIOError):
        listener.accept()
