"""The page with the real bundled model."""

import pytest
from playwright.sync_api import BrowserContext
from support.page import PageVisit
from support.server import ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.model]


def test_a_model_answers_with_the_settings_of_its_conversation(
    browser: BrowserContext, model_server: ServerProcess
) -> None:
    """Sampling and system prompt are set in a dialog, and hold for the answer; numbers say what it took. Beside
    the field the page says that the bundled model is a demo."""
    visit = PageVisit(browser, model_server)
    visit.sign_in(model_server.admin_key)
    page = visit.page
    page.click(".write .note >> text=How to get a real model")
    page.wait_for_selector("dialog code >> text=jan pull")
    page.keyboard.press("Escape")
    page.click(".top button[title=More]")
    page.click("[role=menuitem] >> text=Settings")
    page.fill("#set-system", "You answer with names of colours.")
    page.fill("#set-temperature", "0")
    page.fill("#set-max_tokens", "12")
    page.click("dialog button[type=submit]")
    visit.ask("Name three colours.")
    (answer,) = visit.answers()
    assert answer.strip()
    assert page.locator(".step >> text=System prompt").count() == 1
    assert page.inner_text(".facts").startswith("12 tokens")
    page.wait_for_selector(".state >> text=Cut short")
    page.click(".msg:not(.you) button[title=Regenerate]")
    page.wait_for_selector(".ways[aria-label='Version 2 of 2']", state="attached")
    assert visit.answers() == [answer]
    assert visit.complaints == []
    assert visit.violations == []
    page.close()
    browser.clear_cookies()
