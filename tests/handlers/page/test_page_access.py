"""The page for everybody: screen readers, keys alone, narrow windows, both colours, other directions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.foreign_exports import chatgpt
from support.page import FIELD, PageVisit

pytestmark = pytest.mark.browser

AXE = "4.14.1"
TEXT = (
    "# Title\n\nSome **words**, `code` and a [link](https://example.org).\n\n| a | b |\n|---|--:|\n| c | 1 |\n\n"
    "```python\nprint(1)\n```\n\n- [ ] task\n\n$$a^2$$\n"
)
ACCOUNT = ("usage", "keys", "shares", "sessions", "activity", "look", "data")
PAGES = ("", "?temporary=1", "?search=Title", "?view=compare", "?view=archive")
PLACES = (*PAGES, *(f"?account={part}" for part in ACCOUNT))
# Phone, tablet, desk.
SIZES = (("dark", 390), ("light", 820), ("dark", 1440))
NARROWEST = 320
READY = "main#page :is(.text p, [role=tree], #part, .t-h1, .pair, .hits li, .archived li)"
PRESSED = """(field, given) =>
    field.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter", bubbles: true, ...given}))"""


@pytest.fixture(scope="session")
def axe(install_once: Callable[..., Path]) -> str:
    """The script of axe-core, which finds mistakes of accessibility."""
    install = ["npm", "install", "--prefix", ".", "--no-audit", "--no-fund", "--ignore-scripts"]
    folder = install_once(f"axe-core-{AXE}", *install, f"axe-core@{AXE}")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


def violations(visit: PageVisit, axe: str) -> list[Any]:
    """Return what is wrong with the page as it is now, in short."""
    if not visit.page.evaluate("() => 'axe' in window"):
        visit.page.evaluate(axe)
    found = visit.page.evaluate("() => axe.run(document, {resultTypes: ['violations'], preload: false})")
    return [(one["id"], one["nodes"][0]["html"][:200]) for one in found["violations"]]


def is_narrow(visit: PageVisit) -> bool:
    """Return True if nothing makes the window scroll sideways."""
    return bool(visit.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"))


def shown_well(visit: PageVisit, axe: str, what: str) -> None:
    """Assert that a screen has no violation at any width, in either colour, and never scrolls sideways."""
    page = visit.page
    for scheme, width in SIZES:
        # Without motion no colour is on its way to another.
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": 800})
        assert violations(visit, axe) == [], (scheme, width, what)
    page.set_viewport_size({"width": NARROWEST, "height": 640})
    assert is_narrow(visit), what


def test_no_screen_has_a_violation(visit: PageVisit, signed_in: Callable[[], str], axe: str) -> None:
    """Sign-in, a conversation with all kinds of blocks, its tree, search, two models, account."""
    visit.open()
    visit.page.wait_for_selector("#key")
    shown_well(visit, axe, "sign-in")
    client = visit.server.connect(signed_in())
    for place in ({"pinned": True}, {"archived": True}, {"folder": "Garden"}):
        ident = client.post("/v1/conversations", json={"title": "Title"}).json()["id"]
        client.patch(f"/v1/conversations/{ident}", json=place)
    visit.ask(TEXT)
    visit.answers()
    begun = visit.page.evaluate("() => location.search")
    for query in (begun, f"?view=tree&{begun[1:]}", *PLACES):
        visit.open(query)
        visit.page.wait_for_selector(READY, state="attached")
        shown_well(visit, axe, query)


def test_no_dialog_has_a_violation(visit: PageVisit, signed_in: Callable[[], str], axe: str) -> None:
    """On a phone, where dialogs have the least room: menus, settings, a key that is made, imports, the list."""
    signed_in()
    page = visit.page
    page.set_viewport_size({"width": 390, "height": 800})
    page.emulate_media(reduced_motion="reduce")
    visit.ask(TEXT)
    visit.answers()
    page.click(".top button[title=More]")
    page.wait_for_selector("[role=menu]")
    assert violations(visit, axe) == []
    page.click("[role=menuitem] >> text=Settings")
    page.wait_for_selector("#preset:not([disabled])")
    page.click("dialog button >> text=Save as a preset")
    assert violations(visit, axe) == []
    page.keyboard.press("Escape")
    page.wait_for_selector("#preset-name", state="detached")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    page.click(".top button[title=More]")
    page.click("[role=menuitem] >> text=Share")
    page.click("dialog >> text=Make a link")
    link = page.input_value("#share-link")
    page.wait_for_selector("dialog li")
    assert violations(visit, axe) == []
    page.keyboard.press("Escape")
    page.click("jan-composer .tools button[aria-haspopup=dialog]")
    page.wait_for_selector(".model")
    assert violations(visit, axe) == []
    page.keyboard.press("Escape")
    page.click(".top .open")
    page.wait_for_selector(".list-open")
    assert violations(visit, axe) == []
    page.keyboard.press("Escape")
    visit.open("?account=keys")
    page.click("main .head .b.main")
    page.wait_for_selector("dialog #about-inference")
    assert violations(visit, axe) == []
    page.fill("#key-name", "Laptop")
    page.click("dialog button[type=submit]")
    page.wait_for_selector("dialog .secret")
    assert violations(visit, axe) == []
    page.keyboard.press("Escape")
    page.wait_for_selector("tbody th >> text=Laptop")
    assert page.evaluate("() => document.querySelector('.cards').scrollWidth <= innerWidth")
    assert violations(visit, axe) == []
    visit.open("?account=data")
    page.wait_for_selector("#part")
    spoilt = json.dumps([chatgpt(1), {}]).encode()
    page.set_input_files(
        "main input[type=file]", {"name": "a.json", "mimeType": "application/json", "buffer": spoilt}
    )
    page.click("main summary >> text=1 part was left out")
    assert violations(visit, axe) == []
    page.click("main >> text=Delete my account >> nth=-1")
    page.wait_for_selector("dialog #sure")
    assert violations(visit, axe) == []
    visit.open("#" + link.partition("#")[2])
    page.wait_for_selector("main[data-state=whole]")
    assert violations(visit, axe) == []
    assert is_narrow(visit)


def test_numbers_and_days_are_in_the_language_of_the_page(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """Also in the chart of usage, and where the page's language is not the browser's. Units have their names."""
    signed_in()
    page = visit.page
    visit.open("?account=look")
    page.select_option("#language", "de")
    page.wait_for_selector("html[lang=de]")
    visit.open("?account=usage")
    page.wait_for_selector(".chart")
    months = page.locator(".chart .along bdi").all_text_contents()
    assert [month.rpartition(". ")[0].isdigit() for month in months] == [True, True], months
    visit.open("?account=activity")
    page.wait_for_selector("tbody th >> text=Angemeldet")


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
