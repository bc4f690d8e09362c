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
