"""Questions are answered whatever happens to the page, the network, the session and the server, in Chromium."""

import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page
from support import counting
from support.fake_oidc import FakeProvider, Lab, reply
from support.page import FIELD, Gate, PageVisit
from support.ports import free_port
from support.server import DEFAULT_CONFIG, ServerProcess

from jan.testing import ThreadServer, served

pytestmark = pytest.mark.browser

WORDS = "w0 w1 w2 w3 gate w4 w5 w6 w7"
ANSWER = "article.msg:not(.you)"
GROWING = f"{ANSWER}[aria-busy] .text >> text=w3"
RESTARTED = """
log: {format: json}
server: {grace_seconds: 1}
responses: {lease_seconds: 1}
models: [{id: counting, engine: counting.Counting, options: {gate: open}}]
"""


@pytest.fixture(scope="module")
def page_server(module_gate: Gate) -> Iterator[ThreadServer]:
    """A server with a model that stops at the gate. Its log stays free of errors."""
    held = f"{{id: held, engine: support.counting.Counting, options: {{gate: '{module_gate.path}'}}}}"
    limits = "limits: {authenticated: 'off', anonymous: 'off', inference: 'off'}"
    models = f"models: [{held}, {{id: echo, engine: echo}}]"
    with served(f"extends: default\n{limits}\n{models}\nserver: {{host: 127.0.0.1, grace_seconds: 1}}") as server:
        yield server
        assert server.errors == []


def whole(page: Page) -> str:
    """Return the text of the one answer after its end."""
    page.wait_for_selector(f"{ANSWER}:not([aria-busy]) .acts button", state="attached")
    page.wait_for_selector(f"{ANSWER} .text:empty", state="detached")
    assert page.locator(ANSWER).count() == 1
    return page.locator(f"{ANSWER} .text").text_content() or ""


@contextmanager
def another(browser: BrowserContext, url: str) -> Iterator[Page]:
    """A second tab of the same browser."""
    page = browser.new_page()
    page.goto(url)
    yield page
    page.close()


def test_another_page_shows_a_question_that_was_asked_here(
    browser: BrowserContext, visit: PageVisit, signed_in: Callable[[], str], gate: Gate
) -> None:
    """A page that shows the conversation already shows the next question and its answer too."""
    signed_in()
    visit.ask("first")
    visit.answers()
    with another(browser, visit.page.url) as second:
        second.wait_for_selector(f"{ANSWER} .acts button", state="attached")
        visit.ask(WORDS)
        visit.page.wait_for_selector(GROWING)
        second.wait_for_selector(GROWING)
        gate.open()
        second.wait_for_selector(f"{ANSWER}:last-of-type:not([aria-busy]) .acts button", state="attached")
        assert second.locator(f"{ANSWER} .text").all_text_contents() == ["first", WORDS]


def test_a_lost_network_loses_nothing(
    browser: BrowserContext, visit: PageVisit, signed_in: Callable[[], str], gate: Gate
) -> None:
    """The page says so, and shows the rest as soon as the network is back. A question that could not be sent stays
    in the field, with the reason."""
    signed_in()
    visit.ask(WORDS)
    page = visit.page
    page.wait_for_selector(GROWING)
    browser.set_offline(True)
    page.wait_for_selector(f"{ANSWER} .state >> text=No connection")
    page.wait_for_selector(".strip >> text=No connection")
    gate.open()
    browser.set_offline(False)
    assert whole(page) == WORDS
    page.wait_for_selector(".strip", state="hidden")
    browser.set_offline(True)
    visit.ask("not heard")
    page.wait_for_selector(".notice >> text=No connection")
    assert page.input_value(FIELD) == "not heard"
    browser.set_offline(False)
    page.click(".notice button >> text=Try again")
    assert visit.answers() == [WORDS, "not heard"]
    assert page.input_value(FIELD) == ""


def test_a_session_that_is_revoked_in_mid_answer(
    visit: PageVisit, signed_in: Callable[[], str], gate: Gate
) -> None:
    """The page says so at once and asks who it is; a draft is still there, and so is what was written until
    then."""
    key = signed_in()
    visit.ask(WORDS)
    page = visit.page
    page.wait_for_selector(GROWING)
    page.fill(FIELD, "a draft")
    client = visit.server.connect(key)
    (session,) = client.get("/v1/user/sessions").json()["data"]
    assert client.delete(f"/v1/user/sessions/{session['id']}").status_code == 200
    page.wait_for_selector("text=The session is over. Your drafts are still here.")
    assert page.locator(".msg").count() == 0
    gate.open()
    page.fill("#key", key)
    page.keyboard.press("Enter")
    page.wait_for_selector(ANSWER)
    assert page.input_value(FIELD) == "a draft"
    assert whole(page).strip() == "w0 w1 w2 w3"
    visit.complaints[:] = [told for told in visit.complaints if not told.startswith("401 ")]


def test_a_key_made_on_the_page_is_used_by_a_program(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """It is shown once, may do what was chosen, and ends as soon as it is revoked."""
    signed_in()
    visit.open("?account=keys")
    page = visit.page
    page.click("main button >> text=New key")
    page.fill("#key-name", "laptop")
    page.keyboard.press("Enter")
    secret = page.wait_for_selector("dialog :text-matches('^jan_')")
    assert secret is not None
    key = (secret.text_content() or secret.input_value()).strip()
    page.keyboard.press("Escape")
    client = visit.server.connect(key)
    body = {"model": "echo", "messages": [{"role": "user", "content": "Hello"}]}
    made = client.post("/v1/chat/completions", json=body)
    assert made.json()["choices"][0]["message"]["content"] == "Hello"
    assert client.get("/v1/conversations").status_code == 403
    assert key not in page.content()
    page.click("tr:has-text('laptop') button[title=More]")
    page.click("[role=menuitem] >> text=Revoke")
    page.click("dialog button >> text=Revoke")
    page.wait_for_selector("tr:has-text('laptop')", state="detached")
    assert client.post("/v1/chat/completions", json=body).status_code == 401


@pytest.fixture
def restarted(request: pytest.FixtureRequest, tmp_path: Path, store: str) -> Path:
    """The configuration of a server whose model can go on with an answer, on a kind of store."""
    url = f"sqlite:///{tmp_path}/jan.db"
    if store == "mongodb":
        url = request.getfixturevalue("own_server").url("jan_page")
    shutil.copy(counting.__file__, tmp_path)
    config = tmp_path / "jan.yaml"
    config.write_text(f"extends: {DEFAULT_CONFIG}\n{RESTARTED}\nstorage: {{url: '{url}'}}\n")
    return config


@pytest.mark.parametrize(
    ("store", "end"), [("sqlite", signal.SIGTERM), ("sqlite", signal.SIGKILL), ("mongodb", signal.SIGKILL)]
)
def test_a_server_that_ends_in_mid_answer(browser: BrowserContext, restarted: Path, end: signal.Signals) -> None:
    """Stopped or killed: another start on the same store goes on with the answer, and the page that was open all
    the time shows all of it, each word once."""
    port = str(free_port())
    server = ServerProcess(restarted, "--port", port)
    page = browser.new_page()
    try:
        page.goto(server.url)
        page.fill("#key", server.admin_key)
        page.keyboard.press("Enter")
        page.wait_for_selector("jan-composer [aria-label='Model: counting']")
        page.fill(FIELD, WORDS)
        page.keyboard.press("Enter")
        page.wait_for_selector(GROWING)
        server.signal(end)
        assert server.wait() in (0, -signal.SIGKILL)
        page.wait_for_selector(f"{ANSWER} .state >> text=No connection")
        page.wait_for_selector(".strip:not([hidden])")
        server = ServerProcess(restarted, "--port", port)
        restarted.with_name("open").touch()
        assert whole(page).strip() == WORDS
        assert page.locator(".state:not([hidden])").count() == 0
        page.wait_for_selector(".strip", state="hidden")
        assert server.errors() == []
    finally:
        page.close()
        browser.clear_cookies()
        server.kill_if_running()


def agree(provider: FakeProvider) -> Callable[[BaseHTTPRequestHandler], None]:
    """The provider's page, where the person agrees at once."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}
        provider.says(provider.claims(asked["nonce"]))
        back = f"{asked['redirect_uri']}?code=the-code&state={asked['state']}"
        reply(302, b"", headers={"Location": back})(request)

    return answer


def test_a_sign_in_at_the_provider_ends_on_the_page(browser: BrowserContext, tmp_path: Path) -> None:
    """The person is signed in by a cookie that no script reads, and nothing of the sign-in is in the address."""
    lab = Lab(tmp_path)
    lab.provider.replies["/auth"] = agree(lab.provider)
    page = browser.new_page()
    try:
        page.goto(lab.server.url)
        page.click("a >> text=Sign in with Google")
        page.wait_for_selector(FIELD)
        assert page.url == f"{lab.server.url}/"
        assert page.inner_text(".side-foot") == "Ada"
        assert page.evaluate("() => document.cookie") == ""
        names = [cookie.get("name", "") for cookie in browser.cookies()]
        assert [name for name in names if re.search("sign_in", name)] == []
    finally:
        page.close()
        browser.clear_cookies()
        lab.stop()
