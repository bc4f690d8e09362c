"""Sign-in against a real OpenID Connect provider: npm's oidc-provider, as a process."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from support.browser import chromium
from support.oidc import SECRET, RealProvider, Visitor
from support.ports import free_port
from support.server import ECHO_CONFIG, ServerProcess

from jan.storage import store_from_url
from jan.storage.session_records import RefreshSession


class Site:
    """A server whose people sign in with the real provider, and what must never be in its log."""

    def __init__(self, folder: Path, cache: Path) -> None:
        port = free_port()
        config = folder / "jan.yaml"
        config.write_text(
            f"{ECHO_CONFIG}\n"
            f"sign_in: {{issuer: 'http://127.0.0.1:{port}', client_id: jan, client_secret: '{SECRET}',\n"
            f"  allowed_domains: [example.com], admins: [boss@example.com],\n"
            "  return_to: [/api/swagger/index.html]}\n"
        )
        self.data = folder / "data"
        self.server = ServerProcess(config, environ={"JAN__LOG__LEVEL": "debug"})
        origins = [self.server.url, self.server.url.replace("127.0.0.1", "localhost")]
        try:
            self.provider = RealProvider(cache, port, [f"{origin}/auth/google/callback" for origin in origins])
        except BaseException:
            self.server.kill_if_running()
            raise
        self.secrets = {SECRET}

    def sign_in(self, name: str) -> dict[str, object]:
        """All of it; returns the answer."""
        with Visitor(self.server.url) as visitor:
            back = visitor.log_in(visitor.begin(), name)
            answer = visitor.finish(back)
        assert answer.status_code == 200, answer.text
        found: dict[str, object] = answer.json()
        query = parse_qs(urlsplit(back).query)
        self.secrets |= {query["code"][0], query["state"][0], str(found["access_token"])}
        return found

    def session_of(self, token: str) -> RefreshSession | None:
        """The session of a token, read from the store itself."""
        claims = jwt.decode(token, options={"verify_signature": False})

        async def find() -> RefreshSession | None:
            store = store_from_url(f"sqlite:///{self.data / 'jan.db'}", timeout=5)
            await store.open()
            try:
                return await store.sessions.find(claims["sid"])
            finally:
                await store.close()

        return asyncio.run(find())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[Site]:
    found = Site(tmp_path_factory.mktemp("site"), cache_dir)
    yield found
    try:
        assert found.server.stop() == 0
    finally:
        found.provider.stop()
    log = "".join(found.server.stderr)
    assert found.server.errors() == []
    assert [secret for secret in found.secrets if secret in log] == []


def test_a_person_signs_in(site: Site) -> None:
    """Sign-in gives a token that opens the API as that person, and begins a session in the store."""
    answer = site.sign_in("ada")
    assert set(answer) == {"access_token", "token_type", "expires_in", "expires_at", "user"}
    assert answer["token_type"] == "bearer"
    assert answer["expires_in"] in range(3500, 3601)
    user = answer["user"]
    assert isinstance(user, dict)
    assert (user["email"], user["name"], user["role"]) == ("ada@example.com", "Ada Example", "user")
    token = str(answer["access_token"])
    bearer = {"Authorization": f"Bearer {token}"}
    assert (
        httpx.get(f"{site.server.url}/api/v1/models", headers=bearer, timeout=60, trust_env=False).status_code
        == 200
    )
    profile = httpx.get(f"{site.server.url}/api/v1/user/profile", headers=bearer, timeout=60, trust_env=False)
    assert profile.json() == user
    session = site.session_of(token)
    assert session is not None
    assert (session.user_id, session.ended_at) == (user["id"], None)


def test_who_comes_again_is_the_same_user(site: Site) -> None:
    """A second sign-in finds the user of the first and begins another session."""
    first, second = site.sign_in("grace"), site.sign_in("grace")
    assert first["user"] == second["user"]
    assert site.session_of(str(first["access_token"])) != site.session_of(str(second["access_token"]))


def test_administrators_are_named_in_the_configuration(site: Site) -> None:
    """An address in sign_in.admins becomes an administrator."""
    user = site.sign_in("boss")["user"]
    assert isinstance(user, dict)
    assert user["role"] == "admin"


def test_the_request_to_the_provider(site: Site) -> None:
    """The browser is sent off with state, nonce and PKCE S256; what it keeps is httponly, Lax, short-lived and
    shows nothing of them."""
    with Visitor(site.server.url) as visitor:
        response = visitor.get(f"{site.server.url}/auth/google")
        query = parse_qs(urlsplit(response.headers["location"]).query)
        assert query["code_challenge_method"] == ["S256"]
        assert query["response_type"] == ["code"]
        assert query["scope"] == ["openid email profile"]
        assert query["redirect_uri"] == [f"{site.server.url}/auth/google/callback"]
        cookie = response.headers["set-cookie"]
        assert {"HttpOnly", "Max-Age=600", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))
        assert not any(query[name][0] in cookie for name in ("state", "nonce", "code_challenge"))
        assert response.headers["cache-control"] == "no-store"


def test_a_copied_answer_is_worth_nothing(site: Site) -> None:
    """The URL that finished a sign-in does not work again, neither with the cookie of before nor without."""
    with Visitor(site.server.url) as visitor:
        back = visitor.log_in(visitor.begin(), "ada")
        kept = visitor.cookies["jan_sign_in"]
        site.secrets.add(kept)
        assert visitor.finish(back).status_code == 200
        assert "jan_sign_in" not in visitor.cookies
        for cookies in ({}, {"jan_sign_in": kept}):
            visitor.cookies = httpx.Cookies(cookies)
            again = visitor.finish(back)
            assert (again.status_code, again.json()["error"]["code"]) == (400, "sign_in_expired")


def test_a_code_is_good_only_where_it_was_asked_for(site: Site) -> None:
    """PKCE: a code that was made for another sign-in, put into one's own, is refused by the provider: 401."""
    with Visitor(site.server.url) as thief, Visitor(site.server.url) as victim:
        stolen = parse_qs(urlsplit(victim.log_in(victim.begin(), "ada")).query)["code"][0]
        own = thief.log_in(thief.begin(), "mallory")
        answer = thief.finish(own.replace(parse_qs(urlsplit(own).query)["code"][0], stolen))
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_grant")


def test_a_challenge_that_was_swapped_on_the_way(site: Site) -> None:
    """PKCE: a code for a challenge that is not of our verifier is refused: 401."""
    with Visitor(site.server.url) as visitor:
        url = visitor.begin()
        challenge = parse_qs(urlsplit(url).query)["code_challenge"][0]
        back = visitor.log_in(url.replace(challenge, challenge[::-1]), "ada")
        answer = visitor.finish(back)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_grant")


def test_a_nonce_that_was_swapped_on_the_way(site: Site) -> None:
    """An ID token with another nonce than this browser's is refused: 401."""
    with Visitor(site.server.url) as visitor:
        url = visitor.begin()
        nonce = parse_qs(urlsplit(url).query)["nonce"][0]
        answer = visitor.finish(visitor.log_in(url.replace(nonce, nonce[::-1]), "ada"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_id_token")
    assert "nonce" in answer.json()["error"]["message"]


def test_a_finished_sign_in_can_not_be_planted_in_another_browser(site: Site) -> None:
    """Login CSRF: an attacker's callback URL, opened in a browser with no sign-in or one of its own, is 400;
    and the victim's own sign-in goes on."""
    with Visitor(site.server.url) as attacker, Visitor(site.server.url) as victim:
        bait = attacker.log_in(attacker.begin(), "mallory")
        answer = victim.finish(bait)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "sign_in_expired")
        url = victim.begin()
        answer = victim.finish(bait)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_state")
        assert victim.finish(victim.log_in(url, "ada")).json()["user"]["email"] == "ada@example.com"


def test_an_unverified_address_does_not_come_in(site: Site) -> None:
    """A person whose address the provider did not verify is refused: 403."""
    with Visitor(site.server.url) as visitor:
        answer = visitor.finish(visitor.log_in(visitor.begin(), "unverified-eve"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "email_not_verified")


def test_a_refusal_at_the_provider(site: Site) -> None:
    """Who says no at the provider gets 403 access_denied."""
    with Visitor(site.server.url) as visitor:
        page = visitor._until_form(visitor.get(visitor.begin()))
        back = visitor._until_form(visitor.get(f"{page.url}/abort")).headers["location"]
        answer = visitor.finish(back)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "access_denied")


def test_a_page_gets_a_token_that_is_only_for_exchange(site: Site) -> None:
    """With return_to the sign-in ends on that page; the token in its URL opens nothing, is exchanged once, and
    a second exchange ends the session."""
    with Visitor(site.server.url) as visitor:
        back = visitor.log_in(visitor.begin("/auth/google?return_to=/api/swagger/index.html"), "ada")
        url = visitor.finish(back).headers["location"]
        page, _, token = url.partition("#exchange_token=")
        assert page == f"{site.server.url}/api/swagger/index.html"
        site.secrets.add(token)
        shown = visitor.get(f"{site.server.url}/api/v1/user/profile", headers={"Authorization": f"Bearer {token}"})
        assert (shown.status_code, shown.json()["error"]["code"]) == (401, "token_expired")
        refresh, bearer = f"{site.server.url}/api/v1/auth/refresh", {"Authorization": f"Bearer {token}"}
        good = visitor.post(refresh, headers=bearer).json()["access_token"]
        mine = {"Authorization": f"Bearer {good}"}
        assert visitor.get(f"{site.server.url}/api/v1/user/profile", headers=mine).status_code == 200
        assert visitor.post(refresh, headers=bearer).json()["error"]["code"] == "token_reused"
        assert visitor.post(refresh, headers=mine).json()["error"]["code"] == "session_ended"


@pytest.mark.browser
def test_a_person_signs_in_with_a_browser(site: Site, tmp_path: Path) -> None:
    """In Chromium: off to the provider, log in, consent, and back to the page, which is signed in by a cookie that
    the provider's redirect could set; that of the sign-in is gone. Nothing secret is left in the address."""
    with chromium(tmp_path) as browser:
        page = browser.new_page()
        page.goto(f"{site.server.url.replace('127.0.0.1', 'localhost')}/auth/google")
        page.fill("input[name=login]", "turing")
        page.fill("input[name=password]", "any")
        page.click("button[type=submit]")
        page.click("button:has-text('Continue')")
        page.wait_for_url(re.compile(r"//localhost:\d+/(?!auth)[^?]*$"))
        profile = page.evaluate("fetch('/api/v1/user/profile').then(answer => answer.json())")
        change = "{method: 'PATCH', body: JSON.stringify({name: 'Alan'})}"
        renamed = page.evaluate(f"fetch('/api/v1/user/profile', {change}).then(answer => answer.status)")
        seen_by_scripts = page.evaluate("document.cookie")
        [cookie] = [found for found in browser.cookies() if found["name"].startswith("jan_")]
    assert profile["email"] == "turing@example.com"
    assert renamed == 200
    assert (seen_by_scripts, cookie["httpOnly"], cookie["sameSite"]) == ("", True, "Strict")
    assert cookie["name"].startswith("jan_session_")
    site.secrets.add(cookie["value"])
