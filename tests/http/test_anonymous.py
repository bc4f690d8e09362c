"""Who is served without credentials: programs on this machine, and nobody behind a proxy or anything like one."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from support.raw_http import exchange, parse
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from jan.errors import ConfigurationError, InvalidRequest
from jan.http.origins import OriginPolicy
from jan.http.peer_account import PeerAccounts
from jan.settings import ANYONE, ServerSettings, Settings
from jan.settings.exposure import admitted_without_credentials
from jan.settings.load import load_settings
from jan.testing import served
from jan.testing.in_process import ThreadServer

PATHS = ("/api/v1/models", "/metrics")
CHAT = b'{"model": "echo", "messages": [{"role": "user", "content": "hi"}]}'


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    with served() as started:
        yield started
        assert started.errors == []


def ask(server: ThreadServer, head: str, body: bytes = b"") -> int:
    """The status of a request whose lines have the server's PORT filled in."""
    lines = head.replace("PORT", server.url.rpartition(":")[2]).replace("\n", "\r\n")
    return parse(exchange(server.url, f"{lines}\r\nConnection: close\r\n\r\n".encode() + body)).status


# Headers of nginx, HAProxy, Caddy, Apache, IIS, Envoy, Varnish, load balancers, tunnels and CDNs.
ADDED = """
X-Real-IP, Via, Forwarded, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, X-Forwarded-Port,
X-Forwarded-Server, X-Forwarded-By, X-Forwarded-Prefix, X-Forwarded-Path, X-Forwarded, Forwarded-For,
X-Forwarded-Ssl, X-Forwarded-Scheme, X-Forwarded-User, X-Forwarded-Client-Cert, X-Forward-For, CF-Connecting-IP,
CF-Connecting-IPv6, CF-Ray, CF-Visitor, CF-IPCountry, CF-Worker, CDN-Loop, True-Client-IP, X-Client-IP,
Client-IP, X-Cluster-Client-IP, X-Original-For, X-Original-URL, X-Original-Host, X-Original-To,
X-Originating-IP, X-Rewrite-URL, Fly-Client-IP, Fly-Forwarded-Port, Fly-Region, Fastly-Client-IP, Fastly-FF,
Fastly-SSL, X-Fastly-Client, Akamai-Origin-Hop, X-Akamai-Edgescape, X-Envoy-External-Address, X-Azure-ClientIP,
X-Azure-SocketIP, X-Azure-FDID, X-ARR-LOG-ID, X-ARR-SSL, X-Amzn-Trace-Id, X-Amz-Cf-Id,
CloudFront-Viewer-Address, X-AppEngine-User-IP, X-Cloud-Trace-Context, X-Vercel-Id, X-Nf-Client-Connection-Ip,
X-Railway-Edge, X-Sucuri-ClientIP, Incap-Client-IP, X-Varnish, Surrogate-Capability, Proxy-Connection,
Proxy-Authorization, Proxy-Client-IP, WL-Proxy-Client-IP, X-ProxyUser-Ip, X-Proxy-Id, X-Remote-Addr,
X-Remote-IP, Remote-User, X-Remote-User, Max-Forwards, Early-Data, Client-Cert, X-SSL-Client-Verify,
SSL-Client-Cert, Front-End-Https, X-Scheme, X-Url-Scheme, X-Host, X-Request-Start, Tailscale-User-Login,
Ngrok-Trace-Id, X-Kong-Request-Id, X-Goog-Authenticated-User-Email, X-WEBAUTH-USER, X-WAF-Score, X-Hops, X-Port,
X-Proto, X-Client-Cert, X-Client-DN, X-NginX-Proxy, X_Forwarded_For, x-real-ip, FORWARDED
"""
NAMES = [*(name.strip() for name in ADDED.split(",")), "X-" + "Unknown-" * 10]


@pytest.mark.parametrize("value", ["203.0.113.7", "", "127.0.0.1"], ids=["an address", "empty", "loopback"])
def test_a_header_that_proxies_add_makes_a_request_one_of_a_proxy(server: ThreadServer, value: str) -> None:
    """It needs credentials, whatever the header says: what a proxy wrote may be what its client sent."""
    for path in PATHS:
        assert server.client.get(path).status_code == 200
        admitted = [name for name in NAMES if server.client.get(path, headers={name: value}).status_code != 401]
        assert admitted == []


# What programs on this machine send.
ORDINARY = """
Accept, Accept-Encoding, Accept-Language, Cache-Control, Connection, DNT, OpenAI-Organization, OpenAI-Project,
OpenAI-Beta, Origin-Agent-Cluster, Pragma, Priority, Range, Sec-CH-UA, Sec-CH-UA-Platform, Sec-Fetch-Dest,
Sec-Fetch-User, Sec-GPC, TE, Upgrade-Insecure-Requests, User-Agent, X-Goog-Api-Client, X-Ms-Client-Request-Id,
X-Request-Id, X-Stainless-Arch, X-Stainless-Async, X-Stainless-Lang, X-Stainless-OS,
X-Stainless-Package-Version, X-Stainless-Read-Timeout, X-Stainless-Retry-Count, X-Stainless-Runtime,
X-Stainless-Runtime-Version, X-Stainless-Timeout, X-Title, HTTP-Referer, anthropic-beta, anthropic-version,
baggage, traceparent, tracestate, Referer, Idempotency-Key, If-None-Match
"""


def test_headers_of_programs_are_no_signs_of_a_proxy(server: ThreadServer) -> None:
    """SDKs, browsers and command lines are served without credentials with all that they send."""
    names = [name.strip() for name in ORDINARY.split(",")]
    refused = [name for name in names if server.client.get(PATHS[0], headers={name: "1"}).status_code != 200]
    assert refused == []


@pytest.mark.parametrize(
    "head",
    [
        "GET PATH HTTP/1.0\nHost: 127.0.0.1:PORT",
        "GET PATH HTTP/1.0",
        "GET PATH HTTP/1.0\nHost: localhost\nConnection: keep-alive",
        "GET PATH HTTP/1.1\nHost: localhost:1",
        "GET PATH HTTP/1.1\nHost: 127.0.0.1:80",
        "GET PATH HTTP/1.1\nHost: localhost:99999",
        "GET http://localhost/PATH HTTP/1.1\nHost: localhost:1",
    ],
    ids=[
        "HTTP/1.0",
        "HTTP/1.0 without Host",
        "HTTP/1.0 kept alive",
        "another port",
        "the port of a proxy",
        "no port",
        "another port beside a target with a host",
    ],
)
@pytest.mark.parametrize("path", PATHS)
def test_a_request_as_no_program_on_this_machine_sends_it_needs_credentials(
    server: ThreadServer, head: str, path: str
) -> None:
    """HTTP/1.0, a missing Host, another port than the server's, and absolute targets are what proxies send."""
    assert ask(server, head.replace("/PATH", path).replace("PATH", path)) == 401


@pytest.mark.parametrize(
    "host", ["localhost:PORT", "127.0.0.1:PORT", "127.0.0.1", "LOCALHOST:PORT", "localhost.:PORT"]
)
@pytest.mark.parametrize("path", PATHS)
def test_programs_on_this_machine_are_served(server: ThreadServer, host: str, path: str) -> None:
    """HTTP/1.1 under a loopback name needs no credentials."""
    assert ask(server, f"GET {path} HTTP/1.1\nHost: {host}") == 200


SIGN_IN = "sign_in: {client_id: jan, client_secret: s, issuer: 'https://id.example.com', create_users: false"
BEYOND = {
    "trusted_proxies": "server: {trusted_proxies: [127.0.0.1]}",
    "trusted_hosts": "server: {trusted_hosts: [jan.example.com]}",
    "public_url": "sign_in: {public_url: 'https://jan.example.com'}",
    "sign-in": SIGN_IN + ", public_url: 'https://jan.example.com'}",
}


@pytest.mark.parametrize("settings", [BEYOND["trusted_proxies"], BEYOND["sign-in"]], ids=["proxy", "sign-in"])
def test_settings_for_others_end_access_without_credentials(settings: str) -> None:
    """A server that is told of a proxy, of a host name or of a sign-in beyond loopback serves nobody without
    credentials, and its log says why. With them everything is as before."""
    with served(settings) as server:
        assert [server.client.get(path).status_code for path in PATHS] == [401, 401]
        assert [server.admin.get(path).status_code for path in PATHS] == [200, 200]
        (line,) = [record for record in server.log if record.get("setting") == "access.anonymous"]
        assert line["event"] == "requests without credentials are refused"
        assert len(line["because_of"]) == 1


def test_a_sign_in_on_loopback_leaves_this_machine_its_access() -> None:
    """Whoever tries the sign-in on this machine goes on without credentials there."""
    with served(f"{SIGN_IN}, public_url: 'http://localhost:8080'}}") as server:
        assert [server.client.get(path).status_code for path in PATHS] == [200, 200]


def loaded(folder: Path, chosen: str, settings: str) -> Settings:
    config = folder / "jan.yaml"
    config.write_text(f"extends: default\naccess: {{anonymous: {chosen}}}\n{settings}\n")
    return load_settings(config)


ON_LOOPBACK = ("", f"{SIGN_IN}}}", f"{SIGN_IN}, public_url: 'http://127.0.0.1:8080'}}")


@pytest.mark.parametrize("chosen", ["auto", "on-loopback"])
@pytest.mark.parametrize("settings", ON_LOOPBACK, ids=["nothing", "sign-in", "sign-in with a URL on loopback"])
def test_who_is_for_this_machine_serves_it(tmp_path: Path, chosen: str, settings: str) -> None:
    """The default, and what can be chosen, with a sign-in that returns to loopback or without."""
    assert admitted_without_credentials(loaded(tmp_path, chosen, settings)) == "on-loopback"


@pytest.mark.parametrize("sign", ["trusted_proxies", "trusted_hosts", "public_url"])
def test_on_loopback_beside_settings_for_others_is_refused(tmp_path: Path, sign: str) -> None:
    """Who asks for both means two things: the mistake names both settings and what is allowed. The default means
    nobody then."""
    assert admitted_without_credentials(loaded(tmp_path, "auto", BEYOND[sign])) == "refuse"
    with pytest.raises(ConfigurationError, match=rf"jan.yaml:2: access.anonymous: .*{sign}.*'auto' or 'refuse'"):
        loaded(tmp_path, "on-loopback", BEYOND[sign])


def test_all_settings_for_others_are_named_at_once(tmp_path: Path) -> None:
    """One mistake hides no other."""
    server = "server: {trusted_proxies: [10.0.0.0/8], trusted_hosts: [jan.example.com]}"
    with pytest.raises(ConfigurationError) as refused:
        loaded(tmp_path, "on-loopback", f"{server}\n{BEYOND['public_url']}")
    assert [sign in refused.value.message for sign in BEYOND if sign != "sign-in"] == [True] * 3


def test_a_refusal_on_loopback_says_whom_it_would_serve(server: ThreadServer) -> None:
    """A developer behind a proxy of their own reads why the server wants credentials."""
    proxied = server.client.get("/api/v1/models", headers={"Via": "1.1 dev"}).json()["error"]
    assert "only programs on this machine are served, and not through a proxy" in proxied["message"]
    assert "proxy" not in server.client.get("/api/v1/usage").json()["error"]["message"]


# Root, people, accounts of a directory; then the accounts of packages, of systemd, and nobody.
PEOPLE, SERVICES = (0, 1000, 60000, 100_000), (1, 33, 998, 61200, 65534)


@pytest.mark.parametrize("account", PEOPLE + SERVICES)
def test_a_service_of_this_machine_needs_credentials(server: ThreadServer, account: int) -> None:
    """What runs under the account of a service, as proxies do, passes requests on; people are served."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a program under another account")
    command = ["curl", "-s", "-o", os.devnull, "-w", "%{http_code}", f"{server.url}/api/v1/models"]
    answer = subprocess.run(command, user=account, capture_output=True, text=True, timeout=60, cwd="/")
    assert answer.stdout == ("200" if account in PEOPLE else "401")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the account at the other end")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_account_at_the_other_end_is_known(host: str) -> None:
    """By either version of IP; of a connection that has ended nothing is known."""
    family, accounts = socket.AF_INET6 if ":" in host else socket.AF_INET, PeerAccounts()
    with socket.create_server((host, 0), family=family) as listening:
        with socket.create_connection(listening.getsockname()[:2]):
            accepted, _ = listening.accept()
            assert [accounts.account_of(accepted) for _ in range(2)] == [os.geteuid()] * 2
        accepted.close()
    assert accounts.account_of(accepted) is None
    accounts.close()


def rebound(server: ThreadServer, host: str, headers: dict[str, str]) -> tuple[int, str]:
    """Status and code of a chat by a page of a name that leads to the server."""
    answer = server.client.post("/api/v1/chat/completions", content=CHAT, headers={"Host": host, **headers})
    return answer.status_code, answer.json().get("error", {}).get("code", "")


@pytest.fixture(scope="module")
def open_server() -> Iterator[ThreadServer]:
    """A server for anyone that answers to any name, as one beyond loopback does by default."""
    more = (
        f"access: {{anonymous: {ANYONE}}}\nserver: {{trusted_hosts: ['*'], cors_origins: ['https://app.example']}}"
    )
    with served(more) as started:
        yield started
        assert started.errors == []


BROWSER = {
    "Origin": {"Origin": "http://rebind.example"},
    "Sec-Fetch-Site": {"Sec-Fetch-Site": "same-origin"},
    "Sec-Fetch-Mode": {"Sec-Fetch-Mode": "navigate"},
    "Referer": {"Referer": "http://rebind.example/"},
    "User-Agent": {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)"},
}


@pytest.mark.parametrize("headers", BROWSER.values(), ids=BROWSER)
def test_pages_of_a_name_that_leads_here_are_refused(open_server: ThreadServer, headers: dict[str, str]) -> None:
    """A server open to anyone serves no page of a name that nobody said is its own (DNS rebinding). Programs may
    use any name, and with credentials anybody may."""
    assert rebound(open_server, "rebind.example", headers) == (400, "host_not_allowed")
    listed = open_server.client.get("/api/v1/models", headers={"Host": "rebind.example", **headers})
    assert listed.status_code == 400
    assert rebound(open_server, "rebind.example", {}) == (200, "")
    key = {"Authorization": f"Bearer {open_server.admin_key}"}
    assert rebound(open_server, "rebind.example", {**headers, **key}) == (200, "")


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("192.0.2.7:8080", "http://192.0.2.7:8080"),
        ("[2001:db8::7]:8080", "http://[2001:db8::7]:8080"),
        ("localhost:8080", "http://localhost:8080"),
        ("jan.lan:8080", "https://app.example"),
    ],
)
def test_pages_of_addresses_and_named_sites_are_served(open_server: ThreadServer, host: str, origin: str) -> None:
    """An address is no name that leads elsewhere, and the configuration's sites are known."""
    assert rebound(open_server, host, {"Origin": origin}) == (200, "")


def test_beyond_loopback_any_name_is_answered_but_no_page_of_it() -> None:
    """The default beyond loopback is judged like '*': a name of the configuration is known, another is not."""
    policy = OriginPolicy(ServerSettings(host="0.0.0.0"), "https://jan.example.com")
    page = HTTPHeaders({"User-Agent": "Mozilla/5.0"})
    for host, known in (("jan.example.com", True), ("rebind.example", False)):
        request = HTTPServerRequest(
            start_line=RequestStartLine("GET", "/", "HTTP/1.1"), headers=HTTPHeaders({"Host": host, **page})
        )
        policy.check_host(request)
        with nullcontext() if known else pytest.raises(InvalidRequest, match=r"Pages of 'rebind\.example'"):
            policy.check_anonymous(request)
