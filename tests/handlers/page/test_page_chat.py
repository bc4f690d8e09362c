"""The page as a person uses it, in Chromium."""

from collections.abc import Callable

import pytest
from support.page import FIELD, PageVisit

pytestmark = pytest.mark.browser


def test_a_person_signs_in_and_talks(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """The key opens the page; the question is shown with its answer and what it took, and the list has the
    conversation under its title."""
    signed_in()
    visit.ask("Hello, how are you?")
    assert visit.answers() == ["Hello, how are you?"]
    page = visit.page
    page.wait_for_selector(".side nav a[aria-current] >> text=Hello, how are you?")
    assert page.locator(".msg .facts").inner_text().startswith("4 tokens")
    assert page.input_value(FIELD) == ""
    assert page.title() == "Hello, how are you? · Jan"


def test_a_wrong_key_is_told(visit: PageVisit) -> None:
    """The field says so, and keeps the focus."""
    visit.open()
    visit.page.fill("#key", "jan_wrong")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector("#key[aria-invalid=true]")
    assert "opens nothing" in visit.page.inner_text("#key-problem")


def test_a_reload_shows_what_is_stored(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """The browser stays signed in, the conversation is where it was, and a draft is still in the field."""
    signed_in()
    visit.ask("What is stored?")
    assert visit.answers() == ["What is stored?"]
    visit.page.fill(FIELD, "not sent yet")
    visit.page.reload()
    visit.page.wait_for_selector(".msg.you")
    assert visit.answers() == ["What is stored?"]
    assert visit.page.input_value(FIELD) == "not sent yet"


def test_an_answer_goes_on_without_the_page(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """A reload in mid-answer shows all of it in the end, once."""
    signed_in()
    words = " ".join(f"w{number}" for number in range(60))
    choose(visit, "slow")
    visit.ask(words)
    visit.page.wait_for_selector(".msg[aria-busy] .text >> text=w3")
    visit.page.reload()
    assert visit.answers() == [words]


def test_versions_of_question_and_answer_are_kept(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """Editing and regenerating make versions; each is reachable with what follows it."""
    signed_in()
    visit.ask("first question")
    visit.answers()
    page = visit.page
    page.click(".msg.you button[title=Edit]")
    page.fill(".editing textarea", "second question")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".msg:not(.you) .text >> text=second question", state="attached")
    visit.answers()
    page.click(".msg:not(.you) button[title=Regenerate]")
    page.wait_for_selector(".msg:not(.you) .ways[aria-label='Version 2 of 2']", state="attached")
    page.click(".msg.you button[title='Earlier version']")
    assert page.text_content(".msg.you .text") == "first question"
    assert visit.answers() == ["first question"]
    page.click(".msg.you button[title='Later version']")
    assert visit.answers() == ["second question"]
    page.click(".top a[title=Tree]")
    page.wait_for_selector("[role=tree]")
    assert page.locator("[role=treeitem]").count() == 5
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.wait_for_selector(".msg.you .text >> text=first question", state="attached")


def choose(visit: PageVisit, model: str) -> None:
    """Choose a model by typing."""
    visit.page.click("jan-composer .tools button[aria-haspopup=dialog]")
    visit.page.fill(".models input", model)
    visit.page.keyboard.press("Enter")
