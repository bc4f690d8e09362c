"""Sessions in a cookie: begun with a key, a token or a link, kept by a browser, and used by its pages only."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from support.ended import CHAT, KEYS, LASTING, UnderWay, asked

from jan.storage.records import now
from jan.testing import ThreadServer, model, served

API = "/api/v1"
SESSION = f"{API}/auth/session"
SESSIONS = f"{API}/user/sessions"
PROFILE = f"{API}/user/profile"
HOST = "jan.example.com"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


class Browser:
    """A browser with a page of the server open, and its cookies."""

    def __init__(self, server: ThreadServer, **headers: str) -> None:
        own = {"Origin": server.url, "Sec-Fetch-Site": "same-origin", "User-Agent": FIREFOX, **headers}
        self.client = server.connect(headers={name: value for name, value in own.items() if value})
        self._server = server

    @property
    def cookies(self) -> dict[str, str]:
        return dict(self.client.cookies)

    def sign_in(self, credential: str) -> dict[str, Any]:
        """Sign in with a key or a token, and return what the page is told."""
        answer = self.client.post(SESSION, json={"credential": credential})
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told


def code(answer: httpx.Response) -> tuple[int, str]:
    """The status and the error's code of a refusal."""
    return answer.status_code, answer.json()["error"]["code"]


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    models = [model("echo"), model("slow", step_seconds=0.02, **LASTING)]
    with served("server: {cors_origins: ['https://app.example.com']}", models=models) as started:
        yield started
        assert started.errors == []


@pytest.fixture(scope="module")
def over_tls() -> Iterator[ThreadServer]:
    """A server that browsers reach by a proxy with TLS, which says so."""
    with served(f"server: {{trusted_hosts: [{HOST}], trusted_proxies: [127.0.0.1]}}") as started:
        yield started
        assert started.errors == []


@pytest.fixture
def browser(server: ThreadServer) -> Browser:
    """A browser in which a new user is signed in with a key."""
    found = Browser(server)
    found.sign_in(server.add_user())
    return found


def test_a_key_is_exchanged_for_a_cookie(server: ThreadServer) -> None:
    """The cookie can't be read by scripts, is sent by own pages only, and its value is told nowhere else."""
    client = Browser(server).client
    answer = client.post(SESSION, json={"credential": server.add_user()})
    assert answer.json()["object"] == "session"
    name, _, rest = answer.headers["set-cookie"].partition("=")
    token, *attributes = rest.split("; ")
    assert re.fullmatch(r"jan_session_[0-9a-f]{8}", name)
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
    assert not any(attribute.startswith("Domain") or attribute == "Secure" for attribute in attributes)
    assert token not in answer.text
    profile = client.get(PROFILE)
    assert profile.json()["id"] == answer.json()["user"]["id"]
    assert not any(token in str(record) for record in server.log)


def test_a_page_asks_who_is_signed_in(server: ThreadServer, browser: Browser) -> None:
    """Also where nobody is, without an error; a session that has ended is none."""
    signed_in = browser.client.get(SESSION).json()
    assert signed_in["session"]["user"] == browser.client.get(PROFILE).json()
    assert signed_in["provider"] is False
    server.run(server.application.services.browsers.leave(*browser.cookies.values()))
    for client in (browser.client, server.client, server.connect(server.admin_key)):
        nobody = {"object": "browser", "session": None, "provider": False, "sharing": None}
        assert client.get(SESSION).json() == nobody


def test_each_server_has_its_own_cookie(over_tls: ThreadServer, browser: Browser) -> None:
    """Browsers send cookies to every port of a host. Another server has another name and takes no notice."""
    client = Browser(over_tls).client
    client.cookies.update(browser.client.cookies)
    assert code(client.get(PROFILE)) == (401, "missing_credentials")
    assert code(client.get(f"{API}/models")) == (401, "missing_credentials")
    told = client.post(SESSION, json={"credential": over_tls.admin_key})
    assert set(client.cookies) == {*browser.cookies, *told.cookies}
    assert len(client.cookies) == 2
    assert client.get(PROFILE).json()["role"] == "admin"


FOREIGN = [
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": ""},
    {"Origin": "null", "Sec-Fetch-Site": ""},
    {"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-site"},
    {"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": ""},
    {"Origin": "https://app.example.com", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "", "Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-origin, cross-site"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=lambda headers: " ".join(headers.values()))
def test_pages_elsewhere_do_nothing_with_the_cookie(
    server: ThreadServer, browser: Browser, headers: dict[str, str]
) -> None:
    """Not even what changes nothing, whether SameSite keeps the cookie back or not: other ports and subdomains are
    the same site. Sign-in and sign-out are refused too, so nobody is signed in as somebody else."""
    other = Browser(server, **headers)
    other.client.cookies.update(browser.client.cookies)
    calls = [
        ("GET", PROFILE, None),
        ("HEAD", PROFILE, None),
        ("GET", f"{API}/models", None),
        ("GET", SESSION, None),
        ("PATCH", PROFILE, {"name": "Eve"}),
        ("DELETE", PROFILE, None),
        ("POST", SESSION, {"credential": server.admin_key}),
        ("DELETE", SESSION, None),
    ]
    for method, path, body in calls:
        answer = other.client.request(method, path, json=body)
        assert answer.status_code == 403, (method, path)
        assert "set-cookie" not in answer.headers
        assert "access-control-allow-credentials" not in answer.headers
        assert method == "HEAD" or answer.json()["error"]["code"] == "cross_site_request"
    assert browser.client.get(PROFILE).json()["name"] != "Eve"


UNTOLD = {"Origin": "", "Sec-Fetch-Site": ""}


def test_what_changes_something_must_say_where_it_comes_from(server: ThreadServer, browser: Browser) -> None:
    """Over plain HTTP a browser names no origin with GET; where it names none with anything else, that is refused.
    So is every method of WebDAV."""
    other = Browser(server, **UNTOLD)
    other.client.cookies.update(browser.client.cookies)
    assert other.client.get(PROFILE).status_code == 200
    assert other.client.head(PROFILE).status_code == 200
    assert other.client.get(PROFILE, headers={"Sec-Fetch-Site": "none"}).status_code == 200
    assert code(other.client.patch(PROFILE, json={"name": "Eve"})) == (403, "cross_site_request")
    assert code(other.client.post(SESSION, json={"credential": server.admin_key})) == (403, "cross_site_request")
    typed = other.client.patch(PROFILE, json={"name": "Eve"}, headers={"Sec-Fetch-Site": "none"})
    assert code(typed) == (403, "cross_site_request")
    own = other.client.patch(PROFILE, json={"name": "Ada"}, headers={"Sec-Fetch-Site": "same-origin"})
    assert own.json()["name"] == "Ada"
    for method in ("PROPFIND", "MKCOL", "MOVE", "TRACE", "LOCK"):
        assert browser.client.request(method, PROFILE).status_code == 405


def test_a_credential_in_a_header_wins(server: ThreadServer, browser: Browser) -> None:
    """The cookie is ignored beside a key or a token, also beside a wrong one. Basic of a proxy is neither."""
    key = server.add_user("read")
    other = server.connect(key).get(PROFILE).json()["id"]
    evil = {"Origin": "https://evil.example"}
    for headers in ({"Authorization": f"Bearer {key}"}, {"x-api-key": key}, {"api-key": key}):
        assert browser.client.get(PROFILE, headers=headers).json()["id"] == other
        assert browser.client.get(PROFILE, headers={**headers, **evil}).json()["id"] == other
    wrong = browser.client.get(PROFILE, headers={"Authorization": "Bearer jan_wrong"})
    assert code(wrong) == (401, "invalid_api_key")
    own = browser.client.get(PROFILE, headers={"Authorization": "Basic YTpi"})
    assert own.json()["id"] not in (other, None)


def test_two_cookies_of_one_name_are_refused(server: ThreadServer, browser: Browser) -> None:
    """Another page of the domain may have set one of them: nobody guesses which is meant."""
    [(name, token)] = browser.cookies.items()
    other = Browser(server)
    other.sign_in(server.add_user())
    [theirs] = other.cookies.values()
    for cookies in (f"{name}={token}; {name}={theirs}", f"{name}={theirs};{name}={token}"):
        answer = Browser(server).client.get(PROFILE, headers={"Cookie": cookies})
        assert code(answer) == (401, "conflicting_credentials")
    same = Browser(server).client.get(PROFILE, headers={"Cookie": f"a=b; {name}={token}; {name}={token}"})
    assert same.status_code == 200


_ODD = [b"\xff\xfe", b'"quoted"', b"a.b.c", b"", b"=", b"a,b", b"\xc3\xa9.\xc3\xa9.\xc3\xa9", b"x" * 4000]


@pytest.mark.parametrize("value", _ODD, ids=[str(number) for number in range(len(_ODD))])
def test_a_cookie_of_anything_else_opens_nothing(server: ThreadServer, value: bytes) -> None:
    """401, nobody is signed in, and signing out and in works all the same."""
    sent = {"Cookie": f"a=b; {server.application.services.cookies.name}=".encode() + value}
    client = Browser(server).client
    assert client.get(PROFILE, headers=sent).status_code == 401
    assert client.get(SESSION, headers=sent).json()["session"] is None
    assert client.delete(SESSION, headers=sent).status_code == 200
    assert client.post(SESSION, headers=sent, json={"credential": server.add_user()}).status_code == 200


def test_a_token_of_one_kind_is_not_the_other(server: ThreadServer, browser: Browser) -> None:
    """The cookie's token opens nothing as Bearer, is not exchanged for another, and a token is no cookie."""
    [(name, token)] = browser.cookies.items()
    bearer = {"Authorization": f"Bearer {token}"}
    assert code(server.client.get(PROFILE, headers=bearer)) == (401, "invalid_token")
    assert code(server.client.post(f"{API}/auth/refresh", headers=bearer)) == (401, "invalid_token")
    assert code(browser.client.post(SESSION, json={"credential": token})) == (401, "invalid_token")
    assert browser.client.get(PROFILE).status_code == 200
    services = server.application.services
    user = server.run(services.users.get(browser.client.get(PROFILE).json()["id"]))
    issued = server.run(services.sessions.sign_in(user))
    crossed = Browser(server).client.get(PROFILE, headers={"Cookie": f"{name}={issued.token}"})
    assert code(crossed) == (401, "invalid_token")


def test_a_token_gets_the_cookie_of_its_session(server: ThreadServer, browser: Browser) -> None:
    """It is one session, which ends with either."""
    services = server.application.services
    user = server.run(services.users.get(browser.client.get(PROFILE).json()["id"]))
    issued = server.run(services.sessions.sign_in(user))
    second = Browser(server)
    assert second.sign_in(issued.token)["id"] == issued.session_id
    assert second.sign_in(issued.token)["id"] == issued.session_id, "the same again does not end it"
    assert second.client.get(PROFILE).status_code == 200
    server.client.post(f"{API}/auth/logout", headers={"Authorization": f"Bearer {issued.token}"})
    assert code(second.client.get(PROFILE)) == (401, "session_ended")


def test_a_session_of_a_key_is_no_more_than_the_key(server: ThreadServer) -> None:
    """It has the key's permissions and end, is limited as the key, and goes with it."""
    key = (
        server.connect(server.add_user())
        .post(
            KEYS,
            json={"name": "short", "permissions": ["read", "keys"], "expires_at": "2100-01-01T00:00:00Z"},
        )
        .json()
    )
    browser = Browser(server)
    told = browser.sign_in(key["key"])
    assert code(browser.client.patch(PROFILE, json={"name": "x"})) == (403, "insufficient_permissions")
    more = browser.client.post(KEYS, json={"name": "more", "permissions": ["write"]})
    assert code(more) == (403, "insufficient_permissions")
    assert code(browser.client.post(f"{API}/auth/logout-everywhere")) == (403, "insufficient_permissions")
    listed = browser.client.get(SESSIONS).json()["data"]
    assert [(row["id"], row["key_id"], row["current"]) for row in listed] == [(told["id"], key["id"], True)]
    signed_in = browser.client.get(f"{API}/user/audit").json()["data"][0]
    assert (signed_in["act"], signed_in["target"]) == ("user.signed_in", told["id"])
    assert signed_in["details"] == {"key": key["id"]}
    browser.client.delete(f"{KEYS}/{key['id']}")
    assert code(browser.client.get(PROFILE)) == (401, "invalid_api_key")


def test_a_session_ends_with_a_key_that_ends(server: ThreadServer) -> None:
    """The cookie and the session last no longer than the key."""
    soon = now() + timedelta(minutes=5)
    key = (
        server.connect(server.add_user())
        .post(KEYS, json={"name": "short", "permissions": ["read"], "expires_at": soon.isoformat()})
        .json()["key"]
    )
    answer = Browser(server).client.post(SESSION, json={"credential": key})
    assert answer.json()["expires_at"] == soon.isoformat().replace("+00:00", "Z")
    [age] = re.findall(r"Max-Age=(\d+)", answer.headers["set-cookie"])
    assert 0 < int(age) <= 300


def test_a_key_that_may_not_read_signs_nobody_in(server: ThreadServer) -> None:
    """Nothing could be shown to it."""
    answer = Browser(server).client.post(SESSION, json={"credential": server.add_user("inference")})
    assert code(answer) == (403, "insufficient_permissions")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("body", [{}, {"credential": "a", "code": "b"}, {"credential": ""}, {"key": "x"}, []])
def test_a_sign_in_needs_one_credential(server: ThreadServer, body: Any) -> None:
    """Anything else is a 400."""
    answer = Browser(server).client.post(SESSION, json=body)
    assert answer.status_code == 400
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("credential", ["jan_wrong", "a.b.c", "none", "é", "x" * 4096])
def test_a_wrong_credential_begins_nothing(server: ThreadServer, credential: str) -> None:
    """401, without a cookie, and the credential is not repeated."""
    answer = Browser(server).client.post(SESSION, json={"credential": credential})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert f"'{credential}'" not in answer.text


def test_sign_ins_count_for_their_address() -> None:
    """Nobody tries out keys: after the limit of an address comes 429, whatever key is tried."""
    with served("limits: {anonymous: 3/hour}") as server:
        client = Browser(server).client
        statuses = [client.post(SESSION, json={"credential": "jan_wrong"}).status_code for _ in range(4)]
        assert statuses == [401, 401, 401, 429]


def test_signing_out_ends_the_session_and_removes_the_cookie(server: ThreadServer, browser: Browser) -> None:
    """By either URL; what was copied from the browser is refused too."""
    for method, path in (("POST", f"{API}/auth/logout"), ("DELETE", SESSION)):
        browser.sign_in(server.add_user())
        [(name, token)] = browser.cookies.items()
        answer = browser.client.request(method, path)
        assert answer.json() == {"status": "signed_out"}
        assert browser.cookies == {}
        copied = Browser(server).client.get(PROFILE, headers={"Cookie": f"{name}={token}"})
        assert code(copied) == (401, "session_ended")
    assert browser.client.delete(SESSION).status_code == 200, "nothing is left to end"


@pytest.mark.parametrize("ends", ["session", "key"])
def test_what_runs_ends_with_the_session_or_its_key(server: ThreadServer, ends: str) -> None:
    """An answer that is streamed to a page ends with the error that its next request gets."""
    owner = server.connect(server.add_user())
    key = owner.post(KEYS, json={"name": "page", "permissions": ["read", "inference"]}).json()
    browser = Browser(server)
    session = browser.sign_in(key["key"])
    work = UnderWay(browser.client, "POST", CHAT, json=asked())
    assert work.begun.wait(60)
    owner.delete(f"{SESSIONS}/{session['id']}" if ends == "session" else f"{KEYS}/{key['id']}")
    assert work.error["code"] == {"session": "session_ended", "key": "invalid_api_key"}[ends]
    assert code(browser.client.get(PROFILE)) == (401, work.error["code"])


def test_a_new_sign_in_ends_the_session_it_replaces(server: ThreadServer) -> None:
    """A browser that signs in again leaves nothing behind, whoever was signed in before (session fixation)."""
    browser, key = Browser(server), server.add_user()
    first = browser.sign_in(key)
    [(name, token)] = browser.cookies.items()
    second = browser.sign_in(key)
    assert second["id"] != first["id"]
    assert browser.cookies[name] != token
    assert [row["id"] for row in browser.client.get(SESSIONS).json()["data"]] == [second["id"]]


def test_sessions_are_listed_and_ended_one_by_one(server: ThreadServer) -> None:
    """With their devices, the own one marked; another user's is not found."""
    key = server.add_user()
    here, there = Browser(server), Browser(server, **{"User-Agent": "curl/8.5.0"})
    mine, other = here.sign_in(key)["id"], there.sign_in(key)["id"]
    rows = here.client.get(SESSIONS, params={"limit": 1}).json()
    rest = here.client.get(SESSIONS, params={"limit": 1, "cursor": rows["next_cursor"]}).json()
    listed = {row["id"]: row for row in (*rows["data"], *rest["data"])}
    assert {name: (row["device"], row["kind"], row["current"]) for name, row in listed.items()} == {
        mine: ("Firefox on Linux", "cookie", True),
        other: ("curl", "cookie", False),
    }
    assert not any("jti" in name or "token" in name for row in listed.values() for name in row)
    stranger = Browser(server)
    stranger.sign_in(server.add_user())
    assert stranger.client.delete(f"{SESSIONS}/{other}").status_code == 404
    assert here.client.delete(f"{SESSIONS}/{other}").json() == {"status": "signed_out"}
    assert here.client.delete(f"{SESSIONS}/{other}").status_code == 404
    assert code(there.client.get(PROFILE)) == (401, "session_ended")
    assert here.client.get(PROFILE).status_code == 200
    acts = [entry["act"] for entry in here.client.get(f"{API}/user/audit").json()["data"]]
    assert acts[:3] == ["session.ended", "user.signed_in", "user.signed_in"]


def by_proxy(server: ThreadServer, **headers: str) -> httpx.Client:
    """A client whose requests a proxy with TLS passes on."""
    proxied = {"Host": HOST, "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1", **headers}
    return server.connect(headers=proxied)


def test_over_tls_only_the_cookie_of_the_host_counts(over_tls: ThreadServer) -> None:
    """It is Secure and has the prefix. The name without it, which a subdomain or a page without TLS could set, is
    not looked at, and such a page signs nobody in and changes nothing."""
    key, own = over_tls.add_user(), {"Origin": f"https://{HOST}"}
    answer = by_proxy(over_tls, **own).post(SESSION, json={"credential": key})
    name, _, rest = answer.headers["set-cookie"].partition("=")
    token, *attributes = rest.split("; ")
    assert name.startswith("__Host-jan_session_")
    assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
    plain = name.removeprefix("__Host-")
    both = f"{plain}=tossed; {name}={token}"
    for cookie, status in ((f"{name}={token}", 200), (both, 200), (f"{plain}={token}", 401)):
        assert by_proxy(over_tls, Cookie=cookie, **own).get(PROFILE).status_code == status
    without = by_proxy(over_tls, Cookie=f"{name}={token}", Origin=f"http://{HOST}")
    assert code(without.patch(PROFILE, json={"name": "Eve"})) == (403, "cross_site_request")
    assert code(without.post(SESSION, json={"credential": key})) == (403, "cross_site_request")
    removed = by_proxy(over_tls, Cookie=f"{name}={token}", **own).delete(SESSION)
    assert removed.headers["set-cookie"].startswith(f'{name}=""; ')
    assert "Secure" in removed.headers["set-cookie"]


def test_nobody_but_a_proxy_says_that_there_is_tls(server: ThreadServer) -> None:
    """A client that says so itself gets the cookie of a connection without TLS, as its page has none."""
    client = Browser(server, **{"X-Forwarded-Proto": "https"}).client
    assert client.post(SESSION, json={"credential": server.add_user()}).status_code == 200
    [name] = client.cookies
    assert name.startswith("jan_session_")


def test_a_page_that_came_over_tls_says_so_itself(over_tls: ThreadServer) -> None:
    """Behind a proxy that does not tell, the cookie of a page with TLS has the prefix too."""
    client = Browser(over_tls, Origin=f"https://{HOST}", Host=HOST).client
    answer = client.post(SESSION, json={"credential": over_tls.add_user()})
    assert answer.headers["set-cookie"].startswith("__Host-")


def test_the_public_url_counts_where_a_proxy_changes_the_host() -> None:
    """Pages of it sign in, and those of the same name without TLS, or of the address behind it, do not."""
    with served(f"sign_in: {{public_url: 'https://{HOST}'}}") as server:
        for origin, status in ((f"https://{HOST}", 200), (server.url, 403), (f"http://{HOST}", 403)):
            answer = Browser(server, Origin=origin).client.post(SESSION, json={"credential": server.admin_key})
            assert answer.status_code == status, origin
