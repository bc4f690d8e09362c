"""Links to conversations on the page: made, opened by a stranger, revoked; with hostile texts; by keys, narrow."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from support.page import DANGEROUS, TRIPWIRE, PageVisit
from support.server import ROOT

from jan.testing import ThreadServer, served

pytestmark = pytest.mark.browser

TEXTS = [one["text"] for one in json.loads((ROOT / "tests" / "support" / "hostile_texts.json").read_text("utf-8"))]
WHOLE = "main[data-state=whole]"
FAILED = "main[data-state=failed]"


class Stranger(PageVisit):
    """A visit in a browser that has no cookies."""

    def _answered(self, response: object) -> None:
        """Links that show nothing are 404."""


@pytest.fixture
def stranger(browser: BrowserContext, page_server: ThreadServer) -> Iterator[Stranger]:
    """A reader with a browser of their own, of which the page has nothing to complain."""
    program = browser.browser
    assert isinstance(program, Browser)
    context = program.new_context(viewport={"width": 320, "height": 640}, locale="en-GB")
    made = Stranger(context, page_server)
    yield made
    context.close()
    assert made.complaints == []
    assert made.violations == []
    assert made.foreign() == []


def make_link(page: Page, what: str = "") -> str:
    """Share the conversation that is open; returns the link."""
    page.click(".top button[title=More]")
    page.click("[role=menuitem] >> text=Share")
    if what:
        page.select_option("#share-what", what)
    page.click("dialog >> text=Make a link")
    page.wait_for_selector("#share-link")
    return page.input_value("#share-link")


def test_a_link_is_made_opened_and_revoked(
    visit: PageVisit, stranger: Stranger, signed_in: Callable[[], str]
) -> None:
    """A stranger reads without signing in, at 320 pixels, and can do nothing else; until it is revoked."""
    signed_in()
    visit.ask("Some **words**")
    visit.answers()
    link = make_link(visit.page)
    page = stranger.page
    page.goto(link)
    page.wait_for_selector(WHOLE)
    assert page.locator("article.you .text").text_content() == "Some **words**"
    assert page.locator("article:not(.you) .text").text_content() is not None
    assert page.locator("article:not(.you) .text strong").count() == 1
    assert page.locator("jan-composer, jan-list, textarea, form").count() == 0
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    secret = link.partition("#share=")[2]
    assert not [request.url for request in stranger.requests if secret in request.url.partition("#")[0]]
    assert not any("cookie" in request.all_headers() for request in stranger.requests)
    visit.page.click("dialog >> text=Revoke")
    visit.page.wait_for_selector("dialog li", state="detached")
    page.reload()
    page.wait_for_selector(f"{FAILED} >> text=This link shows nothing")
    assert page.locator("article").count() == 0


def test_what_is_shared_is_chosen(visit: PageVisit, stranger: Stranger, signed_in: Callable[[], str]) -> None:
    """A branch, or all of them with what comes later; versions can be read one after another."""
    signed_in()
    page = visit.page
    visit.ask("first")
    visit.answers()
    branch = make_link(page)
    page.keyboard.press("Escape")
    later = make_link(page, "later")
    page.keyboard.press("Escape")
    page.click("article:not(.you) button[title=Regenerate]")
    page.wait_for_selector(".msg:not(.you) .ways[aria-label='Version 2 of 2']", state="attached")
    visit.answers()
    reader = stranger.page
    reader.goto(branch)
    reader.wait_for_selector(WHOLE)
    assert reader.locator(".ways").count() == 0
    reader.goto(later)
    reader.wait_for_selector(f"{WHOLE} .ways[aria-label='Version 2 of 2']")
    reader.click(".ways button[title='Earlier version']")
    reader.wait_for_selector(".ways[aria-label='Version 1 of 2']")


def test_a_long_one_is_shown_whole(visit: PageVisit, stranger: Stranger, signed_in: Callable[[], str]) -> None:
    """More messages than one answer of the server has, in order; and links within a text lead nowhere else."""
    client = visit.server.connect(signed_in())
    first = [{"role": "user", "content": "0"}, {"role": "assistant", "content": "[top](#top)"}]
    made = client.post("/v1/conversations", json={"items": first}).json()["id"]
    for number in range(2, 122, 20):
        items = [{"role": "user", "content": str(number + at)} for at in range(20)]
        client.post(f"/v1/conversations/{made}/items", json={"items": items}).raise_for_status()
    link = client.post(f"/v1/conversations/{made}/shares", json={}).json()["fragment"]
    page = stranger.page
    stranger.open(link)
    page.wait_for_selector(WHOLE)
    shown = page.locator("article.you .raw").all_text_contents()
    assert shown == [str(number) for number in range(122) if number != 1]
    assert len([request for request in stranger.requests if request.url.endswith("/shared")]) == 2
    page.evaluate("() => { location.hash = '#elsewhere'; }")
    page.wait_for_url(f"**/{link}")
    assert page.locator("article").count() == 122


def test_links_are_listed_in_the_account(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """With the keyboard alone one is made, and another way leads to all of them, where it is revoked."""
    signed_in()
    visit.ask("words")
    visit.answers()
    page, press = visit.page, visit.page.keyboard.press
    page.locator(".top button[title=More]").focus()
    press("Enter")
    page.wait_for_selector("[role=menuitem]:focus")
    page.keyboard.type("ss")  # Settings, then Share
    press("Enter")
    page.wait_for_selector("#share-what")
    page.locator("dialog button:has-text('Make a link')").focus()
    press("Enter")
    page.wait_for_selector("dialog button:focus >> text=Copy")
    press("Escape")
    visit.open("?account=shares")
    page.wait_for_selector("section li")
    assert page.locator("section li a").text_content() == "words"
    with page.expect_download() as saved:
        page.locator(".head button:has-text('Export')").press("Enter")
    [listed] = json.loads(saved.value.path().read_text())
    assert (listed["title"], listed["object"]) == ("words", "share")
    page.locator("section li button").focus()
    press("Enter")
    page.wait_for_selector("section p >> text=There are no links.")


def test_hostile_texts_do_nothing_to_a_reader(
    visit: PageVisit, stranger: Stranger, signed_in: Callable[[], str]
) -> None:
    """As titles, names of models, questions and answers of a conversation that somebody else shared."""
    client = visit.server.connect(signed_in())
    title = "<img src=x onerror=alert(1)>"
    made = client.post("/v1/conversations", json={"title": title, "model": "echo"}).json()["id"]
    for text in TEXTS:
        for role in ("user", "assistant"):
            body = {"role": role, "content": text, "model": "<b onclick=alert(1)>m"}
            client.post(f"/v1/conversations/{made}/messages", json=body).raise_for_status()
    shared = client.post(f"/v1/conversations/{made}/shares", json={}).json()
    page = stranger.page
    page.add_init_script(TRIPWIRE)
    stranger.open(shared["fragment"])
    page.wait_for_selector(WHOLE)
    assert page.locator("article").count() == 2 * len(TEXTS)
    page.evaluate("() => { for (const one of document.querySelectorAll('summary, .text button')) one.click(); }")
    assert page.evaluate(DANGEROUS) == []
    assert page.locator("h1").text_content() == title


def test_without_the_setting_nothing_is_offered(browser: BrowserContext, tmp_path: Path) -> None:
    """Neither in the menu nor in the account."""
    with served("extends: default\nmodels: [{id: echo, engine: echo}]", data=tmp_path) as server:
        visit = PageVisit(browser, server)
        visit.sign_in(server.add_user())
        visit.ask("words")
        visit.answers()
        visit.page.click(".top button[title=More]")
        visit.page.wait_for_selector("[role=menuitem] >> text=Export")
        assert visit.page.locator("[role=menuitem] >> text=Share").count() == 0
        visit.open("?account=usage")
        visit.page.wait_for_selector("#part")
        assert visit.page.locator("nav.sub a >> text=Shared links").count() == 0
        visit.page.close()
        browser.clear_cookies()
