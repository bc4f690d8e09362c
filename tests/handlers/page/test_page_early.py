"""A person who types and clicks before the page is done with what came before, in Chromium."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, Route
from support.page import FIELD, PageVisit

pytestmark = pytest.mark.browser

FOCUSED = "() => document.activeElement.closest('.models') !== null"
TYPED = """(keys) => {
    for (const key of keys)
        document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
}"""


@contextmanager
def held(page: Page, requests: str) -> Iterator[None]:
    """Hold requests back until the end."""
    waiting: list[Route] | None = []

    def hold(route: Route) -> None:
        route.continue_() if waiting is None else waiting.append(route)

    page.route(re.compile(requests), hold)
    yield
    waiting, left = None, waiting
    for route in left:
        route.continue_()


def text_file(name: str) -> dict[str, object]:
    """A file to be added to a question."""
    return {"name": name, "mimeType": "text/plain", "buffer": name.encode()}


def test_a_second_enter_asks_nothing_again(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """The question stays in the field until the server has it. A file that is added meanwhile is for the next."""
    client, page = visit.server.connect(signed_in()), visit.page
    page.set_input_files("input[type=file]", [text_file("a.txt")])
    page.wait_for_selector(".files >> text=a.txt")
    with held(page, r"/v1/(conversations|responses)$"):
        visit.ask("Once?")
        page.keyboard.press("Enter")
        page.set_input_files("input[type=file]", [text_file("b.txt")])
        page.wait_for_selector(".files >> text=b.txt")
    (answer,) = visit.answers()
    assert answer.startswith("Once?")
    assert page.locator(".msg.you").count() == 1
    assert page.locator(".files li").all_text_contents() == ["b.txt"]
    assert len(client.get("/v1/conversations").json()["data"]) == 1


def test_settings_that_are_opened_early_hold(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """The dialog waits for the settings that the conversation has."""
    signed_in()
    page = visit.page
    with held(page, r"/v1/conversations\?"):
        page.reload()
        page.click(".top button[title=More]")
        page.click("[role=menuitem] >> text=Settings")
    page.fill("#set-temperature", "0.5")
    page.click("dialog button[type=submit]")
    page.wait_for_selector("dialog", state="detached")
    with page.expect_request("**/v1/responses") as asked:
        visit.ask("How warm?")
    assert asked.value.post_data_json["temperature"] == 0.5
    visit.answers()


def test_a_model_is_chosen_before_the_list_is_there(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """What is typed is looked for in the list when it comes."""
    signed_in()
    page = visit.page
    with held(page, r"/v1/models"):
        page.click("jan-composer .tools button[aria-haspopup=dialog]")
        page.fill(".models input", "slow")
        page.keyboard.press("Enter")
    page.wait_for_selector("jan-composer [aria-label='Model: slow']")


def test_the_focus_stays_where_the_person_writes(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """The page is done later than the person, who looks for a model already."""
    signed_in()
    page = visit.page
    with held(page, r"/v1/models"):
        page.reload()
        page.click("jan-composer .tools button[aria-haspopup=dialog]")
        page.fill(".models input", "slow")
    page.wait_for_selector("jan-composer [aria-label='Model: echo']", state="attached")
    assert page.evaluate(FOCUSED)
    page.wait_for_selector(".models [role=option]")
    page.keyboard.press("Enter")
    page.wait_for_selector("jan-composer [aria-label='Model: slow']")


@pytest.mark.parametrize(
    ("keys", "field"), [("/rain", "[role=search] input"), ("ggrain", "dialog input"), ("mrain", ".models input")]
)
def test_letters_are_for_the_field_that_opens(
    visit: PageVisit, signed_in: Callable[[], str], keys: str, field: str
) -> None:
    """Those that are typed before it is there carry out nothing."""
    client, page = visit.server.connect(signed_in()), visit.page
    visit.ask("rain")
    visit.answers()
    page.locator("main#page").focus()
    page.evaluate(TYPED, keys)
    page.wait_for_selector(f"{field}:focus")
    assert page.input_value(field) == "rain"
    (conversation,) = client.get("/v1/conversations").json()["data"]
    assert len(client.get(f"/v1/conversations/{conversation['id']}/messages").json()["data"]) == 2


def test_a_question_is_edited_once(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """A second click opens no second field, and letters after the key are added to the words. An answer is not
    edited, and keys go on."""
    signed_in()
    visit.ask("first")
    visit.answers()
    page = visit.page
    page.locator(".msg.you button[title=Edit]").evaluate("(button) => { button.click(); button.click(); }")
    page.wait_for_selector(".editing textarea:focus")
    page.keyboard.press("Escape")
    page.wait_for_selector(".editing", state="detached")
    page.locator(".msg.you").focus()
    page.keyboard.press("j")
    page.wait_for_selector(".msg:not(.you):focus")
    page.keyboard.press("e")
    page.keyboard.press("k")
    page.wait_for_selector(".msg.you:focus")
    page.evaluate(TYPED, "en")
    page.wait_for_selector(".editing textarea:focus")
    assert page.input_value(".editing textarea") == "firstn"


def test_two_models_are_asked_early(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """The question waits for the conversation that is compared."""
    signed_in()
    visit.ask("first")
    visit.answers()
    page = visit.page
    page.click(".top button[title=More]")
    with held(page, r"/v1/conversations/conv_\w+\?"):
        page.click("[role=menuitem] >> text=Two models")
        page.fill(FIELD, "second")
        page.keyboard.press("Enter")
    page.wait_for_selector(".pair section:last-of-type .msg:not([aria-busy])", state="attached")
    assert page.locator(".pair .text").all_text_contents() == ["second", "second"]
