"""The page for everybody: screen readers, keys alone, narrow windows, both colours, other directions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.page import FIELD, PageVisit

pytestmark = pytest.mark.browser

AXE = "4.14.1"
TEXT = (
    "# Title\n\nSome **words**, `code` and a [link](https://example.org).\n\n| a | b |\n|---|--:|\n| c | 1 |\n\n"
    "```python\nprint(1)\n```\n\n- [ ] task\n\n$$a^2$$\n"
)
ACCOUNT = ("?account=usage", "?account=keys", "?account=shares", "?account=look", "?account=data")
PLACES = ("", "?search=Title", *ACCOUNT, "?view=compare", "?view=archive")
PRESSED = """(field, given) =>
    field.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter", bubbles: true, ...given}))"""
SIZES = ({"width": 1280, "height": 900}, {"width": 320, "height": 640})


@pytest.fixture(scope="session")
def axe(install_once: Callable[..., Path]) -> str:
    """The script of axe-core, which finds mistakes of accessibility."""
    install = ["npm", "install", "--prefix", ".", "--no-audit", "--no-fund", "--ignore-scripts"]
    folder = install_once(f"axe-core-{AXE}", *install, f"axe-core@{AXE}")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


def violations(visit: PageVisit, axe: str) -> list[Any]:
    """Return what is wrong with the page as it is now, in short."""
    visit.page.evaluate(axe)
    found = visit.page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [(one["id"], one["nodes"][0]["html"][:200]) for one in found["violations"]]


def is_narrow(visit: PageVisit) -> bool:
    """Return True if nothing makes the window scroll sideways."""
    return bool(visit.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"))


def test_no_screen_has_a_violation(visit: PageVisit, signed_in: Callable[[], str], axe: str) -> None:
    """In both colours, at 1280 and at 320 pixels, where nothing scrolls sideways: sign-in, a conversation with all
    kinds of blocks, its tree and dialogs, search, account."""
    visit.open()
    visit.page.wait_for_selector("#key")
    assert violations(visit, axe) == []
    client = visit.server.connect(signed_in())
    for place in ({"pinned": True}, {"archived": True}, {"folder": "Garden"}):
        ident = client.post("/v1/conversations", json={"title": "Title"}).json()["id"]
        client.patch(f"/v1/conversations/{ident}", json=place)
    page = visit.page
    visit.ask(TEXT)
    visit.answers()
    place = page.evaluate("() => location.search")
    shown = (place, f"?view=tree&{place[1:]}", *PLACES)
    for scheme, size, queries in zip(("light", "dark"), SIZES, (shown[:2], shown), strict=True):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size(size)
        for query in queries:
            visit.open(query)
            page.wait_for_selector(
                "main#page :is(.text p, [role=tree], #part, .t-h1, .pair, .hits li, .archived li)",
                state="attached",
            )
            assert violations(visit, axe) == [], (scheme, query)
            assert is_narrow(visit), query
    visit.open(place)
    page.click(".top button[title=More]")
    assert violations(visit, axe) == []
    page.click("[role=menuitem] >> text=Settings")
    page.wait_for_selector("dialog")
    assert violations(visit, axe) == []
    page.keyboard.press("Escape")
    page.click(".top button[title=More]")
    page.click("[role=menuitem] >> text=Share")
    page.click("dialog >> text=Make a link")
    link = page.input_value("#share-link")
    page.wait_for_selector("dialog li")
    assert violations(visit, axe) == []
    visit.open("#" + link.partition("#")[2])
    page.wait_for_selector("main[data-state=whole]")
    assert violations(visit, axe) == []
    assert is_narrow(visit)


def test_keys_alone_are_enough(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """Ask, edit, regenerate, read versions, choose a model, search, delete and take it back, without a pointer."""
    signed_in()
    page, press = visit.page, visit.page.keyboard.press
    page.locator(FIELD).focus()
    page.keyboard.type("first words")
    press("Enter")
    visit.answers()
    page.locator("main#page").focus()
    press("k")
    press("k")
    press("e")
    page.wait_for_selector(".editing textarea:focus")
    page.keyboard.type(" and more")
    press("Control+Enter")
    page.wait_for_selector(".msg.you .ways[aria-label='Version 2 of 2']", state="attached")
    visit.answers()
    page.locator("main#page").focus()
    press("r")
    page.wait_for_selector(".msg:not(.you) .ways[aria-label='Version 2 of 2']", state="attached")
    visit.answers()
    press("[")
    page.wait_for_selector(".msg:not(.you) .ways[aria-label='Version 1 of 2']", state="attached")
    press("m")
    page.wait_for_selector(".models input:focus")
    page.keyboard.type("slow")
    press("Enter")
    page.wait_for_selector("jan-composer [aria-label='Model: slow'] >> text=slow")
    press("Tab")
    page.locator("main#page").focus()
    press("/")
    page.wait_for_selector("[role=search] input:focus")
    page.keyboard.type("first")
    page.wait_for_selector(".hits mark")
    press("ArrowDown")
    press("Enter")
    page.wait_for_selector(".msg.you")
    page.locator("main#page").focus()
    press("?")
    page.wait_for_selector("dialog[open]")
    press("Escape")
    page.wait_for_selector("dialog", state="detached")
    page.locator(".top button[title=More]").focus()
    press("Enter")
    press("End")
    press("Enter")
    page.wait_for_selector(".toast")
    page.wait_for_selector(".side li:not([hidden])", state="detached")
    page.locator(".toast button").focus()
    press("Enter")
    page.wait_for_selector(".side li:not([hidden])")


def test_an_input_method_keeps_its_enter(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """Enter that chooses a word does not send, and Shift + Enter makes a line."""
    signed_in()
    field = visit.page.locator(FIELD)
    field.fill("にほん")
    field.evaluate(PRESSED, {"isComposing": True})
    field.evaluate(PRESSED, {"keyCode": 229})
    field.press("End")
    field.press("Shift+Enter")
    assert visit.page.input_value(FIELD) == "にほん\n"
    assert visit.page.locator(".msg").count() == 0
