"""Behind nginx, HAProxy and Caddy: as they come, and as the documents recommend."""

import os
import re
import threading
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.certificates import write_certificate
from support.documents import blocks_of
from support.patience import in_time, until
from support.ports import free_port
from support.proxies import PROXIES, proxying
from support.raw_http import exchange, parse

from jan.engine.backends.echo import EchoBackend
from jan.testing import model, served
from jan.testing.in_process import ThreadServer

CHAT = '{"model": "echo", "messages": [{"role": "user", "content": "hi"}]}'
NAME = "jan.example.com"
# No port beside that of the site, and no change of this machine.
CADDY_ALONE = "{\n    admin off\n    auto_https off\n}\n"
DEPLOYMENT = dict(blocks_of("docs/deployment.md"))

# What their manuals begin with, and what many add: JAN is the server's port, ONE to FOUR are the proxy's.
AS_THEY_COME = {
    "nginx": """
server { listen 127.0.0.1:ONE; location / { proxy_pass http://127.0.0.1:JAN; } }
upstream jan { server 127.0.0.1:JAN; }
server { listen 127.0.0.1:TWO; location / { proxy_pass http://jan; proxy_set_header Host $host; } }
""",
    "haproxy": """
defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s
frontend one
    bind 127.0.0.1:ONE
    default_backend jan
frontend two
    bind 127.0.0.1:TWO
    option forwardfor
    default_backend jan
backend jan
    server jan 127.0.0.1:JAN
""",
    "caddy": """
{
    admin off
    auto_https off
}
:ONE {
    reverse_proxy 127.0.0.1:JAN
}
:TWO {
    reverse_proxy 127.0.0.1:JAN {
        header_up Host {upstream_hostport}
    }
}
""",
}
# Nothing that a proxy adds is left: only the account that it runs under is another one.
WITHOUT_A_TRACE = {
    "nginx": """
upstream jan { server 127.0.0.1:JAN; keepalive 4; }
server {
    listen 127.0.0.1:ONE;
    location / {
        proxy_pass http://jan; proxy_http_version 1.1; proxy_set_header Connection "";
        proxy_set_header Host $http_host;
    }
}
server {
    listen 127.0.0.1:TWO;
    location / { proxy_pass http://127.0.0.1:JAN; proxy_http_version 1.1; }
}
""",
    "haproxy": AS_THEY_COME["haproxy"].replace("option forwardfor", "http-request set-header Host 127.0.0.1:JAN"),
    "caddy": AS_THEY_COME["caddy"].replace(
        "reverse_proxy 127.0.0.1:JAN {", "reverse_proxy 127.0.0.1:JAN {\n        header_up -X-Forwarded-*"
    ),
}
HOSTS = ("ai.example.com", "127.0.0.1:PROXY", "localhost:JAN", "127.0.0.1")
ANONYMOUS = (
    ("GET", "/api/v1/models"),
    ("GET", "/metrics"),
    ("GET", "/api/v1/conversations"),
    ("POST", "/api/v1/chat/completions"),
)
READ = [path for method, path in ANONYMOUS if method == "GET"]


@pytest.fixture(scope="module")
def jan() -> Iterator[ThreadServer]:
    """A server in its default configuration, but for the model."""
    with served() as server:
        yield server
        assert server.errors == []


def filled_in(configuration: str, jan: ThreadServer) -> tuple[str, dict[str, int]]:
    ports = {name: free_port() for name in ("ONE", "TWO")}
    for name, port in {**ports, "JAN": jan.url.rpartition(":")[2]}.items():
        configuration = re.sub(rf"\b{name}\b", str(port), configuration)
    return configuration, ports


def answers(port: int, jan: ThreadServer) -> list[tuple[str, str, int]]:
    """What a proxy's client without credentials gets, by Host and path."""
    found, own = [], jan.url.rpartition(":")[2]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", verify=False, trust_env=False) as client:
        for named, (method, path) in product(HOSTS, ANONYMOUS):
            host = named.replace("PROXY", str(port)).replace("JAN", own)
            content = CHAT if method == "POST" else None
            answer = client.request(method, path, headers={"Host": host}, content=content)
            assert answer.headers["x-request-id"], "not the server's answer"
            found.append((named, path, answer.status_code))
    old = b"GET /api/v1/models HTTP/1.0\r\n\r\n"
    found.append(("none", "/api/v1/models", parse(exchange(f"http://127.0.0.1:{port}", old)).status))
    return found


@pytest.mark.parametrize("name", PROXIES)
def test_nobody_is_served_without_credentials_through_a_proxy_as_it_comes(
    name: str, jan: ThreadServer, tmp_path: Path
) -> None:
    """Models, chats, metrics and conversations take credentials, whatever Host a client sends; with them they are
    there."""
    configuration, ports = filled_in(AS_THEY_COME[name], jan)
    with proxying(name, configuration, ports, tmp_path):
        for port in ports.values():
            assert {status for *_, status in answers(port, jan)} <= {400, 401}
            key = {"Authorization": f"Bearer {jan.admin_key}", "Host": "localhost"}
            known = {path: httpx.get(f"http://127.0.0.1:{port}{path}", headers=key, verify=False) for path in READ}
            assert {path: answer.status_code for path, answer in known.items()} == dict.fromkeys(READ, 200)


@pytest.mark.parametrize("name", PROXIES)
def test_nobody_is_served_without_credentials_through_a_proxy_that_shows_nothing(
    name: str, jan: ThreadServer, tmp_path: Path
) -> None:
    """A proxy that speaks as a program on this machine would is known by its account."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a proxy under the account of its package")
    configuration, ports = filled_in(WITHOUT_A_TRACE[name], jan)
    with proxying(name, configuration, ports, tmp_path):
        for port in ports.values():
            assert {status for *_, status in answers(port, jan)} <= {400, 401}


class Gated(EchoBackend):
    """Says the first word, and the others once it may."""

    may_go_on = threading.Event()

    def step(self) -> Any:
        if any(job.said for job in self._jobs.values()):
            assert self.may_go_on.wait(60)
        return super().step()


@pytest.fixture(scope="module")
def recommended() -> Iterator[ThreadServer]:
    """A server that is configured for a proxy as the documents say, with a model that waits for its client."""
    with served(DEPLOYMENT["yaml"], models=[model("gated", Gated), model("echo")]) as server:
        yield server
        assert server.errors == []


def as_printed(name: str, jan: ThreadServer, folder: Path) -> tuple[str, int]:
    """A block of the documents with addresses and files of this test, and the port that it listens on."""
    write_certificate(folder, NAME, "jan")
    with (folder / "jan.pem").open("ab") as both:
        both.write((folder / "jan.key").read_bytes())
    text, port = DEPLOYMENT["caddyfile" if name == "caddy" else name], free_port()
    changes = {
        "127.0.0.1:8080": jan.url.removeprefix("http://"),
        "listen 443": f"listen 127.0.0.1:{port}",
        "bind :443": f"bind 127.0.0.1:{port}",
        "/etc/ssl/": f"{folder}/",
        # Caddy would ask an authority for a certificate.
        "jan.example.com {": f"http://jan.example.com:{port} {{",
    }
    for before, after in changes.items():
        text = text.replace(before, after)
    return (f"{CADDY_ALONE}{text}" if name == "caddy" else text), port


class FromAddress(httpx.HTTPTransport):
    """Connects from an address of this machine, and asks for the server by its name."""

    def __init__(self, address: str) -> None:
        # The proxies' certificates are made for this test.
        super().__init__(local_address=address, verify=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["sni_hostname"] = NAME
        return super().handle_request(request)


def visitor(url: str, address: str, key: str = "") -> httpx.Client:
    headers = {"Host": NAME, **({"Authorization": f"Bearer {key}"} if key else {})}
    return httpx.Client(base_url=url, headers=headers, transport=FromAddress(address), timeout=60)


@pytest.mark.parametrize("name", PROXIES)
def test_the_server_works_behind_a_proxy_as_the_documents_have_it(
    name: str, recommended: ThreadServer, tmp_path: Path
) -> None:
    """Clients are told apart by the addresses that the proxy saw, whatever they say themselves; a stream's first
    event arrives before the answer goes on; a body that is too large is refused in the server's words; and nobody
    is served without credentials."""
    configuration, port = as_printed(name, recommended, tmp_path)
    url = f"{'http' if name == 'caddy' else 'https'}://127.0.0.1:{port}"
    with proxying(name, configuration, {"443": port}, tmp_path):
        for address, said in (("127.0.0.5", {}), ("127.0.0.6", {"X-Forwarded-For": "203.0.113.7"})):
            with visitor(url, address, recommended.admin_key) as client:
                answer = client.get("/api/v1/models", headers=said)
            assert answer.status_code == 200
            assert client_in_log(recommended, answer.headers["x-request-id"]) == address
        with visitor(url, "127.0.0.5", recommended.admin_key) as client:
            check_stream(client)
            refused = client.post("/api/v1/chat/completions", content=b" " * 5_000_000)
            assert (refused.status_code, refused.json()["error"]["code"]) == (413, "body_too_large")
        with visitor(url, "127.0.0.5") as client:
            for method, path in ANONYMOUS:
                assert client.request(method, path).json()["error"]["code"] == "missing_credentials"


def client_in_log(server: ThreadServer, request_id: str) -> Any:
    """The client's address in a request's line, which comes after the answer."""

    def lines() -> list[Any]:
        return [record["client"] for record in server.log if record.get("request_id") == request_id]

    assert until(lines)
    return lines()[0]


def check_stream(client: httpx.Client) -> None:
    """The first word comes while the model waits for its client to have read it."""
    Gated.may_go_on.clear()
    body = {"model": "gated", "stream": True, "messages": [{"role": "user", "content": "one two three"}]}
    with client.stream("POST", "/api/v1/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        try:
            assert any('"one ' in line for line in lines)
        finally:
            Gated.may_go_on.set()
        rest = "".join(in_time(lines))
    assert "two" in rest
    assert rest.endswith("data: [DONE]")
