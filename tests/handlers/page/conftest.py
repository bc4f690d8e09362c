"""One browser and one server for all tests of a module; each test has a user of its own."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext
from support.browser import chromium, slow_down
from support.page import Gate, PageVisit

from jan.testing import ThreadServer, served

_MODELS = """
server: {host: 127.0.0.1, grace_seconds: 1}
models:
  - {id: echo, engine: echo}
  - {id: slow, engine: echo, options: {step_seconds: 0.02, slots: 1}}
  - {id: thinker, engine: echo, options: {tool_format: hermes, reasoning: auto}}
  - {id: small, engine: echo, options: {context: 40}}
  - {id: brief, engine: echo, options: {context: 150}}
"""


@pytest.fixture(scope="module")
def module_gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return Gate(tmp_path_factory.mktemp("gate") / "open")


@pytest.fixture
def gate(module_gate: Gate) -> Gate:
    """The gate of this module's server, shut."""
    module_gate.path.unlink(missing_ok=True)
    return module_gate


@pytest.fixture(scope="module")
def page_server(module_gate: Gate) -> Iterator[ThreadServer]:
    """A server with echo models and links, without limits; ``held`` stops at the gate. Its log stays free of
    errors."""
    limits = "limits: {authenticated: 'off', anonymous: 'off', inference: 'off'}"
    options = f"options: {{gate: '{module_gate.path}', slots: 1}}"
    held = f"  - {{id: held, engine: support.counting.Counting, {options}}}\n"
    with served(f"extends: default\nshares: {{enabled: true}}\n{limits}{_MODELS}{held}") as server:
        yield server
        assert server.errors == []


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """The module's browser, as slow as ``--slow-browser`` says."""
    profile = tmp_path_factory.mktemp("profile")
    with chromium(profile, viewport={"width": 1280, "height": 900}, locale="en-GB") as context:
        if times := request.config.getoption("--slow-browser"):
            slow_down(context, times)
        yield context


@pytest.fixture
def visit(browser: BrowserContext, page_server: ThreadServer) -> Iterator[PageVisit]:
    """A visit with nothing kept in the browser; at its end the page has complained of nothing."""
    made = PageVisit(browser, page_server)
    yield made
    made.page.evaluate("() => localStorage.clear()")
    made.page.close()
    browser.clear_cookies()
    assert made.complaints == []
    assert made.violations == []
    assert made.foreign() == []


@pytest.fixture
def signed_in(visit: PageVisit) -> Callable[[], str]:
    """Signs a new user in; gives the key."""

    def sign_in() -> str:
        key = visit.server.add_user()
        visit.sign_in(key)
        return key

    return sign_in
