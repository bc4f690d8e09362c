"""Sign-in while the provider is away or answers rubbish: 503 in the envelope, soon, and nothing worse."""

import base64
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from jwt.algorithms import RSAAlgorithm
from support.fake_oidc import FakeProvider, Reply, code_of, reply
from support.oidc import SECRET
from support.patience import until
from support.ports import free_port
from support.server import ECHO_CONFIG, ServerProcess, http_client

pytestmark = pytest.mark.slow

FAILED = (503, "sign_in_provider_failed")
_HUGE = 1024 * 1024


def dribble(request: BaseHTTPRequestHandler) -> None:
    """Something every moment, but never the end."""
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    with suppress(OSError):
        for _ in range(30):
            request.wfile.write(b" ")
            time.sleep(0.1)


RUBBISH: dict[str, Reply] = {
    "not JSON": reply(200, b"<html>"),
    "not UTF-8": reply(200, b'"\xff\xfe'),
    "empty": reply(200, b""),
    "a list": reply(200, []),
    "null": reply(200, b"null"),
    "deep": reply(200, b"[" * 100_000),
    "wrong types": reply(200, {"issuer": 1, "keys": 1, "access_token": 1, "sub": 1}),
    "huge": reply(200, b" " * _HUGE),
    "huge without saying": reply(200, b"{" + b" " * _HUGE, headers={"Content-Length": str(_HUGE * 4)}),
    "slow": reply(200, {}, seconds=3),
    "dribbling": dribble,
    "cut short": reply(200, b"{}", headers={"Content-Length": "100"}),
    "a redirect": reply(302, b"", headers={"Location": "http://127.0.0.1:1/"}),
    "an error": reply(500, {"error": "server_error"}),
    "an empty answer": lambda request: request.connection.close(),
    "not HTTP": lambda request: request.wfile.write(b"nonsense\r\n\r\n") and None,
}


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    found = FakeProvider()
    yield found
    found.stop()


def _serve(folder: Path, issuer: str) -> ServerProcess:
    config = folder / "jan.yaml"
    config.write_text(
        f"{ECHO_CONFIG}\nsign_in: {{issuer: '{issuer}', client_id: jan, client_secret: '{SECRET}',\n"
        "  client_authentication: post, create_users: true, timeout_seconds: 1}\n"
    )
    return ServerProcess(config)


@pytest.fixture(scope="module")
def server(provider: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    found = _serve(tmp_path_factory.mktemp("outages"), provider.issuer)
    yield found
    assert found.stop() == 0
    assert found.errors() == []
    assert SECRET not in "".join(found.stderr)


@pytest.fixture
def client(server: ServerProcess, provider: FakeProvider) -> Iterator[httpx.Client]:
    provider.replies.clear()
    with http_client(server) as found:
        yield found


def _begin(client: httpx.Client, provider: FakeProvider, **claims: Any) -> dict[str, str]:
    """Begin, with an ID token waiting; returns the callback's query."""
    response = client.get("/auth/google")
    assert response.status_code == 302, response.text
    query = parse_qs(urlsplit(response.headers["location"]).query)
    provider.says(provider.claims(query["nonce"][0], **claims))
    return {"code": "the-code", "state": query["state"][0]}


# Before the others, as a discovery document that was good is kept.
@pytest.mark.parametrize("kind", RUBBISH)
def test_discovery_fails(client: httpx.Client, provider: FakeProvider, kind: str) -> None:
    """A discovery document that can't be had or understood: 503."""
    provider.replies["/.well-known/openid-configuration"] = RUBBISH[kind]
    assert code_of(client.get("/auth/google")) == FAILED


def test_many_wait_together(client: httpx.Client, provider: FakeProvider) -> None:
    """Visitors who come while a slow provider is asked share one question and its failure."""
    provider.replies["/.well-known/openid-configuration"] = RUBBISH["slow"]
    provider.asked.clear()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(client.get, ["/auth/google"] * 8))
    assert [code_of(answer) for answer in answers] == [FAILED] * 8
    assert len(provider.asked) < 8


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://accounts.google.com"},
        {"token_endpoint": "http://evil.example/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"userinfo_endpoint": "http://169.254.169.254/"},
        {"token_endpoint": "https://"},
    ],
    ids=str,
)
def test_discovery_misleads(client: httpx.Client, provider: FakeProvider, changes: dict[str, str]) -> None:
    """A document of another issuer, or with an address that is not safe: 503."""
    provider.replies["/.well-known/openid-configuration"] = reply(200, provider.document(**changes))
    assert code_of(client.get("/auth/google")) == FAILED


@pytest.mark.parametrize("kind", RUBBISH)
def test_keys_fail(client: httpx.Client, provider: FakeProvider, kind: str) -> None:
    """Keys that can't be had or understood: 503."""
    query = _begin(client, provider)
    provider.replies["/keys"] = RUBBISH[kind]
    assert code_of(client.get("/auth/google/callback", params=query)) == FAILED


def test_keys_that_are_no_keys(client: httpx.Client, provider: FakeProvider) -> None:
    """Published keys that are broken or private verify nothing: 401."""
    good = provider.public_key()
    broken = [{**good, "n": 1}, {**good, "e": ""}, {**good, "kty": "oct", "k": "AAAA"}, {**good, "d": "AQAB"}]
    broken += [{**RSAAlgorithm.to_jwk(provider.key, as_dict=True), "kid": good["kid"]}]
    broken += [{**good, "use": "enc"}, {**good, "alg": "PS256"}, {**good, "kid": "other"}, {"kid": good["kid"]}]
    for key in broken:
        query = _begin(client, provider)
        provider.replies["/keys"] = reply(200, {"keys": [key]})
        answer = client.get("/auth/google/callback", params=query)
        assert code_of(answer) == (401, "invalid_id_token")


def test_a_published_secret_is_no_key(client: httpx.Client, provider: FakeProvider) -> None:
    """A symmetric key among the published ones verifies nothing, though the token fits it: 401."""
    query = _begin(client, provider)
    claims = jwt.decode(provider.said[-1], options={"verify_signature": False})
    provider.says(claims, key="s" * 32, algorithm="HS256")
    encoded = base64.urlsafe_b64encode(b"s" * 32).decode().rstrip("=")
    jwk = {"kty": "oct", "k": encoded, "kid": provider.kid, "alg": "HS256"}
    provider.replies["/keys"] = reply(200, {"keys": [jwk]})
    assert code_of(client.get("/auth/google/callback", params=query)) == (401, "invalid_id_token")


@pytest.mark.parametrize("status", [302, 307])
@pytest.mark.parametrize("path", ["/token", "/userinfo"])
def test_redirects_are_not_followed(client: httpx.Client, provider: FakeProvider, path: str, status: int) -> None:
    """A secret, a code or a token does not go to where the provider points: 503."""
    query = _begin(client, provider, email=None, email_verified=None)
    provider.replies[path] = reply(status, b"", headers={"Location": "/elsewhere"})
    provider.asked.clear()
    assert code_of(client.get("/auth/google/callback", params=query)) == FAILED
    assert provider.asked[-1] == path


@pytest.mark.parametrize("kind", RUBBISH)
def test_the_token_endpoint_fails(client: httpx.Client, provider: FakeProvider, kind: str) -> None:
    """No tokens, or none that can be understood: 503."""
    query = _begin(client, provider)
    provider.replies["/token"] = RUBBISH[kind]
    assert code_of(client.get("/auth/google/callback", params=query)) == FAILED


@pytest.mark.parametrize(
    ("path", "status"), [(path, status) for path in ("/token", "/userinfo") for status in (200, 418, 500)]
)
def test_visitors_do_not_hear_what_an_address_answered(
    client: httpx.Client, server: ServerProcess, provider: FakeProvider, path: str, status: int
) -> None:
    """All that is not what a provider answers is told alike, or a hostile provider could have this server look
    around in its network. The log has it."""
    query = _begin(client, provider, email=None, email_verified=None)
    provider.replies[path] = reply(status, b"<html>secret</html>")
    refused = client.get("/auth/google/callback", params=query).json()["error"]["message"]
    said = f"The sign-in provider {provider.issuer} can't be used now. It gave no usable answer; the server's log "
    assert refused == f"{said}says more."
    seen = "no JSON of the expected form" if status == 200 else f"status {status}"
    expected = (f"{provider.issuer}{path}", seen)
    assert until(lambda: expected in [(entry.get("url"), entry.get("seen")) for entry in server.log])


_TOKEN_ERRORS: list[tuple[Any, tuple[int, str]]] = [
    ({"error": "invalid_grant", "error_description": "code is used up"}, (401, "invalid_grant")),
    ({"error": "invalid_client"}, FAILED),
    ({"error": "nobody_knows_this"}, FAILED),
    ({"error": None}, FAILED),
    ({"error": ""}, FAILED),
    ({"expires_in": "soon", "scope": 1}, FAILED),
    ({"access_token": "a", "expires_in": "soon", "scope": [], "token_type": "Bearer"}, (401, "invalid_id_token")),
]


@pytest.mark.parametrize(("answer", "expected"), _TOKEN_ERRORS, ids=str)
def test_the_token_endpoint_refuses(
    client: httpx.Client, provider: FakeProvider, answer: Any, expected: tuple[int, str]
) -> None:
    """A code that is not accepted is the visitor's to try again (401); anything else is not (503)."""
    query = _begin(client, provider)
    provider.replies["/token"] = reply(400 if "error" in answer else 200, answer)
    assert code_of(client.get("/auth/google/callback", params=query)) == expected


def test_the_secret_goes_in_the_form_where_so_configured(client: httpx.Client, provider: FakeProvider) -> None:
    """client_authentication: post sends the secret in the body."""
    query = _begin(client, provider)
    assert client.get("/auth/google/callback", params=query).status_code == 200
    assert provider.forms[-1]["client_secret"] == [SECRET]


@pytest.mark.parametrize("kind", ["not JSON", "wrong types", "an error"])
def test_userinfo_fails(client: httpx.Client, provider: FakeProvider, kind: str) -> None:
    """The address is only in the userinfo, and that can't be understood: 503."""
    query = _begin(client, provider, email=None, email_verified=None)
    provider.replies["/userinfo"] = RUBBISH[kind]
    assert code_of(client.get("/auth/google/callback", params=query)) == FAILED


def test_userinfo_of_somebody_else(client: httpx.Client, provider: FakeProvider) -> None:
    """Userinfo of another subject is not believed: 403, no address."""
    query = _begin(client, provider, email=None, email_verified=None)
    info = {"sub": "somebody-else", "email": "boss@example.com", "email_verified": True}
    provider.replies["/userinfo"] = reply(200, info)
    assert code_of(client.get("/auth/google/callback", params=query)) == (403, "email_missing")


def test_a_provider_that_is_away(tmp_path: Path) -> None:
    """Nobody listens: 503; everything else goes on."""
    server = _serve(tmp_path, f"http://127.0.0.1:{free_port()}")
    with http_client(server) as client:
        assert code_of(client.get("/auth/google")) == FAILED
        assert client.get("/health").status_code == 200
    assert server.stop() == 0
    assert server.errors() == []


def test_sign_in_is_off_by_default(echo: httpx.Client) -> None:
    """Without a client id both URLs say 503 and what to set."""
    for path in ("/auth/google", "/auth/google/callback?code=a&state=b"):
        answer = echo.get(path)
        assert code_of(answer) == (503, "sign_in_not_configured")
        assert "sign_in.client_id" in answer.json()["error"]["message"]
