"""A sign-in at the provider that ends on the web page, with a cookie; and one that fails."""

from collections.abc import Iterator
from urllib.parse import urljoin

import httpx
import pytest
from support.fake_oidc import PAGES, Attempt, Lab, code_of
from support.server import http_client

from jan.testing import served

HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
CALLBACK = "/auth/google/callback"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    found = Lab(tmp_path_factory.mktemp("lab"))
    yield found
    found.stop()


@pytest.fixture
def browser(lab: Lab) -> Iterator[httpx.Client]:
    with http_client(lab.server, headers=HTML) as client:
        yield client


def came_back(lab: Lab, client: httpx.Client, **query: str | None) -> httpx.Response:
    """What a sign-in of Ada's ends with."""
    begun = Attempt(client)
    lab.provider.says(lab.provider.claims(begun.nonce))
    return begun.callback(**query)


def ends_at(answer: httpx.Response) -> str:
    """Where a browser is led, without the server's address."""
    assert answer.status_code == 302
    return urljoin(CALLBACK, answer.headers["location"])


def test_a_browser_is_led_to_the_page_with_a_cookie(lab: Lab, browser: httpx.Client) -> None:
    """Nothing secret is in the URL, and the page is signed in."""
    answer = came_back(lab, browser)
    assert ends_at(answer) == "/"
    assert answer.text == ""
    [name] = browser.cookies
    assert name.startswith("jan_session_")
    [kept] = [line for line in answer.headers.get_list("set-cookie") if line.startswith(name)]
    assert {"HttpOnly", "SameSite=Strict"} <= set(kept.split("; "))
    assert browser.get("/api/v1/user/profile").json()["email"] == "ada@example.com"
    [here] = [row for row in browser.get("/api/v1/user/sessions").json()["data"] if row["current"]]
    assert (here["kind"], here["device"]) == ("cookie", "python-httpx")


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
def test_a_program_gets_the_answer_of_the_reference(lab: Lab, accept: str) -> None:
    """Only Accept with text/html leads to the page."""
    with http_client(lab.server, headers={"Accept": accept}) as client:
        answer = came_back(lab, client)
    assert answer.status_code == 200
    assert answer.json()["token_type"] == "bearer"
    assert "jan_session" not in str(answer.headers)


def test_a_sign_in_with_a_page_of_its_own_ends_there(lab: Lab, browser: httpx.Client) -> None:
    """With a token to exchange, also for a browser, and without a cookie; its errors are answered as ever."""
    for page in PAGES:
        begun = Attempt(browser, return_to=page)
        lab.provider.says(lab.provider.claims(begun.nonce))
        answer = begun.callback()
        assert ends_at(answer).startswith(urljoin(f"{lab.server.url}/", f"{page}#exchange_token="))
        assert "jan_session" not in str(answer.headers)
    begun = Attempt(browser, return_to=PAGES[0])
    assert code_of(begun.callback(error="access_denied", code=None)) == (403, "access_denied")
    assert code_of(browser.get("/auth/google?return_to=//evil.example")) == (400, "invalid_return_to")


def test_an_error_leads_to_the_page_with_its_code(lab: Lab, browser: httpx.Client) -> None:
    """Which has a way on. Nobody is signed in, and the refusal is counted as any other."""
    cases = {"access_denied": {"error": "access_denied", "code": None}, "invalid_state": {"state": "another"}}
    for code, query in cases.items():
        answer = came_back(lab, browser, **query)
        assert ends_at(answer) == f"/#sign_in_error={code}"
        assert "jan_session" not in str(answer.headers)
    with http_client(lab.server) as program:
        assert code_of(program.get(f"{CALLBACK}?code=c&state=s")) == (400, "sign_in_expired")


def test_a_sign_in_cannot_be_planted_in_another_browser(lab: Lab, browser: httpx.Client) -> None:
    """Whoever is led to the callback of somebody else's sign-in is not signed in as them."""
    with http_client(lab.server, headers=HTML) as other:
        begun = Attempt(other)
        lab.provider.says(lab.provider.claims(begun.nonce))
        planted = browser.get(CALLBACK, params={"code": "the-code", "state": begun.state})
    assert ends_at(planted) == "/#sign_in_error=sign_in_expired"
    assert dict(browser.cookies) == {}


@pytest.mark.parametrize("page", ["on", "off"])
def test_without_a_provider_a_browser_is_led_to_the_page(page: str) -> None:
    """If there is one; else it is told in words."""
    with served(f"endpoints: {{page: {page}}}") as server:
        answer = server.client.get("/auth/google", headers=HTML)
    if page == "off":
        assert code_of(answer) == (503, "sign_in_not_configured")
    else:
        assert urljoin("/auth/google", answer.headers["location"]) == "/#sign_in_error=sign_in_not_configured"


@pytest.mark.parametrize("page", ["on", "off"])
def test_swagger_ui_links_to_a_page_that_is_there(page: str) -> None:
    """Without the page the link would lead back."""
    with served(f"endpoints: {{page: {page}}}") as server:
        shown = server.client.get("/api/swagger/index.html").text
    assert ('<a href="../../">' in shown) == (page == "on")
    assert '<div id="swagger-ui"></div>' in shown
