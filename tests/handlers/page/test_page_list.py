"""The list of conversations on the page: pins, folders, archive, in Chromium."""

import time

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page
from support.foreign_exports import open_webui
from support.page import PageVisit
from support.patience import SECONDS

pytestmark = pytest.mark.browser

LIST = ".side nav"


class Person:
    """A user with conversations, who looks at the list. They are named by letters, "a" is the oldest."""

    def __init__(self, visit: PageVisit, titles: str = "abcd") -> None:
        self.visit, self.page = visit, visit.page
        key = visit.server.add_user()
        self.client: httpx.Client = visit.server.connect(key)
        self.ids = {title: self._made(title) for title in titles}
        self._key = key

    def _made(self, title: str) -> str:
        made: str = self.client.post("/v1/conversations", json={"title": title}).json()["id"]
        return made

    def set(self, title: str, **fields: object) -> None:
        """Change a conversation by the API."""
        assert self.client.patch(f"/v1/conversations/{self.ids[title]}", json=fields).status_code == 200

    def stored(self, title: str) -> dict[str, object]:
        """Where the server has a conversation."""
        found = self.client.get(f"/v1/conversations/{self.ids[title]}").json()
        return {name: found[name] for name in ("pinned", "archived", "folder") if name in found}

    def sign_in(self) -> None:
        """Open the page, and wait for the list."""
        self.visit.sign_in(self._key)
        self.page.wait_for_selector(f"{LIST} h2", state="attached")

    def act(self, title: str, words: str) -> None:
        """Choose an entry of a conversation's menu."""
        self.page.locator(f"{LIST} li", has_text=title).first.hover()
        self.page.click(f"{LIST} .act[aria-label='Actions: {title}']")
        self.page.click(f"[role=menuitem] >> text={words}")


SHOWN = """() => [...document.querySelectorAll(".side nav :is(h2, .fold .line, li a)")]
    .filter((one) => one.checkVisibility({contentVisibilityAuto: false})).map((one) => one.textContent)"""


def shown(page: Page) -> list[str]:
    """What the list says from top to bottom: names of parts, folders with numbers, titles."""
    return list(page.evaluate(SHOWN))


def wait_for(page: Page, wanted: list[str]) -> None:
    """Wait until the list says this."""
    deadline = time.monotonic() + SECONDS
    while (seen := shown(page)) != wanted:
        assert time.monotonic() < deadline, seen
        page.wait_for_timeout(25)


def test_pins_and_folders_have_places(visit: PageVisit) -> None:
    """Pinned ones on top, then folders with their numbers, which open and stay open, then the others by day."""
    me = Person(visit)
    me.set("b", pinned=True, folder="Garden")
    me.set("a", folder="Garden")
    me.set("c", archived=True)
    me.sign_in()
    folded = ["Pinned", "b", "Folders", "Garden1", "Today", "d"]
    wait_for(me.page, folded)
    me.page.click(".fold .line >> text=Garden")
    opened = ["Pinned", "b", "Folders", "Garden1", "a", "Today", "d"]
    wait_for(me.page, opened)
    assert me.page.get_attribute(".fold .line", "aria-expanded") == "true"
    me.page.reload()
    wait_for(me.page, opened)
    me.page.click(".fold .line >> text=Garden")
    wait_for(me.page, folded)


def test_signing_out_forgets_which_folders_are_open(visit: PageVisit) -> None:
    """Their names are the person's."""
    me = Person(visit, "a")
    me.set("a", folder="Garden")
    me.sign_in()
    me.page.click(".fold .line")
    wait_for(me.page, ["Folders", "Garden1", "a"])
    assert "Garden" in me.page.evaluate("() => JSON.stringify(localStorage)")
    visit.open("?account=usage")
    me.page.click("main button >> text=Sign out")
    me.page.wait_for_selector("#key")
    assert "Garden" not in me.page.evaluate("() => JSON.stringify(localStorage)")


def test_a_menu_moves_a_conversation(visit: PageVisit) -> None:
    """It is pinned, put into a new folder, taken out, archived and taken back; what is done is said and stored."""
    me = Person(visit, "ab")
    me.sign_in()
    page = me.page
    wait_for(page, ["Today", "b", "a"])
    me.act("a", "Pin")
    wait_for(page, ["Pinned", "a", "Today", "b"])
    page.wait_for_selector("#said:has-text('Pinned: a')", state="attached")
    me.act("a", "Unpin")
    wait_for(page, ["Today", "b", "a"])
    me.act("a", "Move to a folder")
    page.fill("dialog input", "<b>Garden</b>")
    page.keyboard.press("Enter")
    wait_for(page, ["Folders", "<b>Garden</b>1", "Today", "b"])
    assert me.stored("a") == {"folder": "<b>Garden</b>"}
    me.act("b", "Move to a folder")
    page.click("dialog .choices >> text=Garden")
    wait_for(page, ["Folders", "<b>Garden</b>2"])
    page.click(".fold .line")
    wait_for(page, ["Folders", "<b>Garden</b>2", "b", "a"])
    me.act("a", "Move to a folder")
    page.click("dialog .choices >> text=No folder")
    wait_for(page, ["Folders", "<b>Garden</b>1", "b", "Today", "a"])
    me.act("a", "Archive it")
    page.hover(".toast")  # holds it
    wait_for(page, ["Folders", "<b>Garden</b>1", "b"])
    assert me.stored("a") == {"archived": True}
    page.click(".toast >> text=Undo")
    wait_for(page, ["Folders", "<b>Garden</b>1", "b", "Today", "a"])
    assert me.stored("a") == {}


def test_a_folder_is_renamed_and_removed(visit: PageVisit) -> None:
    """With all in it, also by its name in another tab of the browser; it stays open."""
    me = Person(visit, "abc")
    me.set("a", folder="Garden")
    me.set("b", folder="Garden", archived=True)
    me.sign_in()
    page = me.page
    page.click(".fold .line")
    wait_for(page, ["Folders", "Garden1", "a", "Today", "c"])
    other = page.context.new_page()
    other.goto(page.url)
    wait_for(other, ["Folders", "Garden1", "a", "Today", "c"])
    page.bring_to_front()  # the browser lets others wait
    page.hover(".fold")
    page.click(".fold .act")
    page.click("[role=menuitem] >> text=Rename")
    page.wait_for_selector("dialog input:focus")
    assert page.input_value("dialog input") == "Garden"
    page.fill("dialog input", "Plants")
    page.keyboard.press("Enter")
    for tab in (page, other):
        wait_for(tab, ["Folders", "Plants1", "a", "Today", "c"])
    page.wait_for_selector(".fold .line:focus >> text=Plants")
    assert me.stored("b") == {"archived": True, "folder": "Plants"}
    page.hover(".fold")
    page.click(".fold .act")
    page.click("[role=menuitem] >> text=Remove")
    page.click("dialog .b.bad")
    for tab in (page, other):
        wait_for(tab, ["Today", "c", "a"])
    other.close()
    assert me.stored("b") == {"archived": True}


def test_keys_alone_move_pin_and_archive(visit: PageVisit) -> None:
    """Arrows lead to a conversation's menu and back, and open a folder. The focus stays with what was moved."""
    me = Person(visit, "abc")
    me.set("c", folder="Garden")
    me.sign_in()
    page, press = me.page, me.page.keyboard.press
    wait_for(page, ["Folders", "Garden1", "Today", "b", "a"])
    page.locator(f"{LIST} .line").first.focus()
    press("ArrowRight")
    wait_for(page, ["Folders", "Garden1", "c", "Today", "b", "a"])
    press("ArrowLeft")
    wait_for(page, ["Folders", "Garden1", "Today", "b", "a"])
    press("End")
    page.wait_for_selector(f"{LIST} li a:focus >> text=a")
    press("ArrowRight")
    page.wait_for_selector(".act:focus")
    press("ArrowLeft")
    page.wait_for_selector(f"{LIST} li a:focus >> text=a")
    press("ArrowRight")
    press("Enter")
    page.wait_for_selector("[role=menuitem]:focus >> text=Pin")
    press("Enter")
    wait_for(page, ["Pinned", "a", "Folders", "Garden1", "Today", "b"])
    page.wait_for_selector(".pinned a:focus >> text=a")
    press("End")
    press("ArrowRight")
    press("Enter")
    press("m")
    press("Enter")
    page.wait_for_selector("dialog .choices")
    page.locator("dialog .choices button").last.focus()
    press("Enter")
    wait_for(page, ["Pinned", "a", "Folders", "Garden2"])
    page.wait_for_selector("#said:has-text('b is in Garden')", state="attached")
    assert page.evaluate("() => document.querySelector('.side').contains(document.activeElement)")
    page.locator(".pinned a").focus()
    press("ArrowRight")
    press("Enter")
    press("End")
    press("Enter")
    page.hover(".toast")  # holds it
    wait_for(page, ["Folders", "Garden2"])
    assert page.evaluate("() => document.querySelector('.side').contains(document.activeElement)")
    page.locator(".toast button").focus()
    press("Enter")
    wait_for(page, ["Pinned", "a", "Folders", "Garden2"])


def test_the_archive_is_a_place(visit: PageVisit) -> None:
    """What is archived is listed there alone, opens, and is taken out or deleted; the open conversation's own menu
    archives too."""
    me = Person(visit, "abc")
    me.set("a", archived=True)
    me.set("b", archived=True, folder="Garden")
    me.sign_in()
    page = me.page
    wait_for(page, ["Today", "c"])
    page.click(".side-top >> text=Archive")
    page.wait_for_selector(".archived li >> nth=1")
    assert page.locator(".archived a").all_text_contents() == ["b", "a"]
    assert page.title() == "Archive · Jan"
    page.click(".archived li:has-text('b') >> text=Take out of the archive")
    wait_for(page, ["Folders", "Garden1", "Today", "c"])
    page.wait_for_selector(".archived li >> nth=1", state="detached")
    page.click(".archived button[aria-label='Delete: a']")
    page.click(".toast >> text=Undo")
    page.click(".archived a >> text=a")
    page.wait_for_selector("h1 >> text=a")
    page.click(".top button[title=More]")
    page.click("[role=menuitem] >> text=Take out of the archive")
    wait_for(page, ["Folders", "Garden1", "Today", "c", "a"])
    page.click(".top button[title=More]")
    page.click("[role=menuitem] >> text=Archive it")
    wait_for(page, ["Folders", "Garden1", "Today", "c"])
    assert me.stored("a") == {"archived": True}
    page.click(".side-top >> text=Archive")
    page.wait_for_selector(".archived >> text=a")


def test_other_tabs_follow(visit: PageVisit, browser: BrowserContext) -> None:
    """What one tab moves, renames or deletes, another shows without being loaded again."""
    me = Person(visit, "abc")
    me.sign_in()
    page = me.page
    wait_for(page, ["Today", "c", "b", "a"])
    other = browser.new_page()
    other.goto(page.url)
    wait_for(other, ["Today", "c", "b", "a"])
    page.bring_to_front()
    me.act("a", "Pin")
    me.act("b", "Rename")
    page.fill("dialog input", "B")
    page.keyboard.press("Enter")
    for tab in (page, other):
        wait_for(tab, ["Pinned", "a", "Today", "c", "B"])
    me.act("c", "Delete")
    wait_for(page, ["Pinned", "a", "Today", "B"])
    page.evaluate("() => dispatchEvent(new Event('pagehide'))")
    wait_for(other, ["Pinned", "a", "Today", "B"])
    other.close()
    assert me.client.get(f"/v1/conversations/{me.ids['c']}").status_code == 404


def test_an_asked_conversation_stays_in_its_part(visit: PageVisit) -> None:
    """It becomes the first of its folder; one that is archived stays out of the list."""
    me = Person(visit, "abcd")
    for title in "ab":
        me.set(title, folder="Garden")
    me.set("c", archived=True)
    me.sign_in()
    me.page.click(".fold .line")
    wait_for(me.page, ["Folders", "Garden2", "b", "a", "Today", "d"])
    for title in ("a", "c"):
        visit.open(f"?c={me.ids[title]}")
        me.page.wait_for_selector(f"h1 >> text={title}")
        visit.ask("hello")
        visit.answers()
        wait_for(me.page, ["Folders", "Garden2", "a", "b", "Today", "d"])
    assert me.stored("c") == {"archived": True}


def test_a_refused_move_is_told(visit: PageVisit) -> None:
    """A name that the server does not take changes nothing, and the page says why."""
    me = Person(visit, "a")
    me.sign_in()
    me.act("a", "Move to a folder")
    me.page.fill("dialog input", "a\u202eb")
    me.page.keyboard.press("Enter")
    me.page.wait_for_selector("dialog [role=alert] >> text=visible text")
    me.page.keyboard.press("Escape")
    wait_for(me.page, ["Today", "a"])
    assert visit.complaints
    visit.complaints.clear()


def test_words_of_every_language_fit_at_320_pixels(visit: PageVisit) -> None:
    """Also right to left: the list, a menu and the archive, nothing scrolls sideways."""
    me = Person(visit, "ab")
    me.set("a", pinned=True)
    me.set("b", folder="مجلد " * 15)
    me.sign_in()
    page = me.page
    page.set_viewport_size({"width": 320, "height": 640})
    for language in ("ar", "de", "es", "fr", "ja"):
        page.evaluate("(language) => localStorage.setItem('jan.language', JSON.stringify(language))", language)
        visit.open("?view=archive")
        page.wait_for_selector("main#page p", state="attached")
        page.wait_for_selector(f"html[lang={language}]", state="attached")
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), language
        page.click(".top .open")
        page.wait_for_selector(f"{LIST} .fold")
        assert page.locator(LIST).evaluate("(nav) => nav.scrollWidth <= nav.clientWidth"), language
        page.locator(f"{LIST} .pinned .act").click()
        box = page.locator("[role=menu]").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 320
        page.keyboard.press("Escape")
    page.set_viewport_size({"width": 1280, "height": 900})


def test_parts_come_in_pages(visit: PageVisit) -> None:
    """An imported folder of more than a page is read while it is scrolled, and so are the others below it."""
    me = Person(visit, "")
    folder = {"folder_id": "5f0c7a12-1111"}
    chats = [{**open_webui(number), **(folder if number < 60 else {})} for number in range(120)]
    assert me.client.post("/v1/imports", json=chats).json()["imported"] == 120
    me.sign_in()
    me.page.click(".fold .line >> text=Open WebUI 5f0c7a12")
    me.page.wait_for_selector(".inside li")
    for place in (".inside li >> text=Talk 0", f"{LIST} > div:last-child li >> text=Talk 60"):
        while not me.page.locator(place).count():
            me.page.locator(LIST).evaluate("(nav) => nav.scrollBy(0, 2000)")
            me.page.wait_for_timeout(20)
    assert me.page.locator(f"{LIST} li").count() == 120
