"""The way back from the provider: state, cookie, errors, and where it may lead."""

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
from support.fake_oidc import PAGES, Attempt, Lab, attempt, code_of
from support.server import http_client


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    found = Lab(tmp_path_factory.mktemp("lab"))
    yield found
    found.stop()


def test_state_must_be_the_one_of_this_browser(lab: Lab) -> None:
    """A callback without state, with another, or with one more is 400, and does not end the sign-in."""
    with attempt(lab) as begun:
        for state in (None, "", "another", begun.state + "x", begun.state.lower() + "é"):
            assert code_of(begun.callback(state=state)) == (400, "invalid_state")
        lab.provider.says(lab.provider.claims(begun.nonce))
        assert begun.callback().status_code == 200


def test_the_cookie_can_not_be_made_up(lab: Lab) -> None:
    """A callback without the cookie, or with one that this server did not seal, is 400."""
    with attempt(lab) as begun:
        for value in (None, "rubbish", "gAAAAA" + "A" * 200, '"é"'):
            headers = {} if value is None else {"Cookie": f"jan_sign_in={value}".encode("latin-1")}
            answer = httpx.get(
                f"{lab.server.url}/auth/google/callback?code=c&state={begun.state}",
                headers=headers,
                timeout=60,
                trust_env=False,
            )
            assert code_of(answer) == (400, "sign_in_expired")


def test_a_sign_in_ends_once(lab: Lab) -> None:
    """A state is good for one callback, also when that one failed."""
    with http_client(lab.server) as client:
        begun = Attempt(client)
        kept = client.cookies["jan_sign_in"]
        lab.provider.says(lab.provider.claims(begun.nonce, aud="another"))
        assert code_of(begun.callback()) == (401, "invalid_id_token")
        lab.provider.says(lab.provider.claims(begun.nonce))
        client.cookies.set("jan_sign_in", kept)
        assert code_of(begun.callback()) == (400, "sign_in_expired")


_TOLD: list[tuple[dict[str, str | None], tuple[int, str]]] = [
    ({"error": "access_denied", "code": None}, (403, "access_denied")),
    ({"error": "login_required"}, (403, "login_required")),
    ({"error": "server_error"}, (503, "sign_in_provider_failed")),
    ({"error": "<script>alert(1)</script>"}, (503, "sign_in_provider_failed")),
    ({"code": None}, (400, "missing_code")),
    ({"code": ""}, (400, "missing_code")),
    ({"iss": "https://accounts.google.com"}, (400, "invalid_issuer")),
]


@pytest.mark.parametrize(("query", "expected"), _TOLD, ids=str)
def test_what_the_provider_tells_the_browser(
    lab: Lab, query: dict[str, str | None], expected: tuple[int, str]
) -> None:
    """An error in the callback, no code, or another issuer's name is answered in the envelope."""
    with attempt(lab) as begun:
        answer = begun.callback(**query)
    assert code_of(answer) == expected
    assert "<" not in answer.json()["error"]["message"]


_ELSEWHERE = [
    "//evil.example",
    "https://evil.example",
    "https://app.example.com.evil.example/signed-in",
    "https://app.example.com/signed-in/../x",
    "https://app.example.com/signed-in?next=//evil.example",
    "https://app.example.com@evil.example/signed-in",
    "https:/app.example.com/signed-in",
    "HTTPS://app.example.com/signed-in",
    "javascript:alert(1)",
    "data:text/html,x",
    "\\\\evil.example",
    "/\\evil.example",
    "/chat\\..\\x",
    "/chat/../../evil",
    "/%2Fevil.example",
    "%2F%2Fevil.example",
    "/chat%0d%0aSet-Cookie: a=b",
    "/chat\r\nSet-Cookie: a=b",
    "/chat#x",
    "",
    "/",
]


@pytest.mark.parametrize("page", _ELSEWHERE)
def test_no_open_redirect(lab: Lab, page: str) -> None:
    """A return_to that is not exactly a configured page is 400, before anything else happens."""
    with http_client(lab.server) as client:
        for text in (quote(page, safe=""), quote(quote(page, safe=""), safe="")):
            answer = client.get(f"/auth/google?return_to={text}")
            assert code_of(answer) == (400, "invalid_return_to")
            assert "location" not in answer.headers
            assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("page", PAGES)
def test_a_configured_page_is_returned_to(lab: Lab, page: str) -> None:
    """A configured path or URL is where the sign-in ends, whatever else the callback says."""
    with http_client(lab.server) as client:
        sent = client.get("/auth/google", params={"return_to": page}).headers["location"]
        query = parse_qs(urlsplit(sent).query)
        lab.provider.says(lab.provider.claims(query["nonce"][0]))
        back = {"code": "the-code", "state": query["state"][0], "return_to": "https://evil.example"}
        answer = client.get("/auth/google/callback", params=back)
    assert answer.status_code == 302
    wanted = page if "://" in page else f"{lab.server.url}{page}"
    assert answer.headers["location"].startswith(f"{wanted}#exchange_token=")
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1@evil.example",
        "localhost.evil.example",
        "me@127.0.0.1",
        "127.0.0.1/x",
        "127.0.0.1?x",
        "",
    ],
)
def test_a_foreign_host_header_names_no_redirect_uri(lab: Lab, host: str) -> None:
    """Without public_url, a Host that is not loopback begins no sign-in."""
    answer = httpx.get(f"{lab.server.url}/auth/google", headers={"Host": host}, timeout=60, trust_env=False)
    assert answer.status_code in (400, 503)
    assert "location" not in answer.headers


def test_over_tls_the_cookie_is_bound_to_the_host(tmp_path: Path) -> None:
    """With an https public_url the cookie is Secure and __Host-, one without these is not looked at, and the
    provider sends browsers back to that URL, whatever the Host header says."""
    lab = Lab(tmp_path, ", public_url: 'https://jan.example.com/'")
    with http_client(lab.server) as client:
        assert client.get("/auth/google", headers={"Host": "evil.example"}).status_code == 400
        sent = client.get("/auth/google", headers={"Host": "localhost:1"})
        query = parse_qs(urlsplit(sent.headers["location"]).query)
        assert query["redirect_uri"] == ["https://jan.example.com/auth/google/callback"]
        name, _, rest = sent.headers["set-cookie"].partition("=")
        sealed, *attributes = rest.split("; ")
        assert name == "__Host-jan_sign_in"
        assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(attributes)
        assert not any(attribute.startswith("Domain") for attribute in attributes)
        lab.provider.says(lab.provider.claims(query["nonce"][0]))
        url = f"/auth/google/callback?code=the-code&state={query['state'][0]}"
        tossed = client.get(url, headers={"Cookie": f"jan_sign_in={sealed}"})
        assert code_of(tossed) == (400, "sign_in_expired")
        answer = client.get(url, headers={"Cookie": f"{name}={sealed}"})
        assert answer.status_code == 200
        assert "Secure" in answer.headers["set-cookie"]
        assert lab.provider.forms[-1]["redirect_uri"] == query["redirect_uri"]
    lab.stop()


def test_a_sign_in_takes_no_longer_than_configured(tmp_path: Path) -> None:
    """A sign-in that was begun longer ago than state_seconds is over."""
    lab = Lab(tmp_path, ", state_seconds: 1")
    with http_client(lab.server) as client:
        begun, kept = Attempt(client), client.cookies["jan_sign_in"]
        time.sleep(3)  # the seal counts whole seconds
        client.cookies.set("jan_sign_in", kept)
        assert code_of(begun.callback()) == (400, "sign_in_expired")
    lab.stop()
