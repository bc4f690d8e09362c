"""What stands around the field to write in: what is too long, and models that load or are a demo."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext
from support.page import FIELD, PageVisit, choose_model

from jan.testing import served

pytestmark = pytest.mark.browser

QUESTION = "more " * 50


def outgrown(visit: PageVisit) -> None:
    """Fill a conversation so that the next question is too much for its model, and type that."""
    choose_model(visit, "brief")
    visit.ask("word " * 60)
    visit.answers()
    visit.page.fill(FIELD, QUESTION)
    visit.page.wait_for_selector(".notice >> text=Go on with a summary")


def test_a_long_conversation_goes_on_with_a_summary(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """A new conversation begins with the model's summary and the question, and says what the model does not read.
    The old one stays as it is, a link away."""
    client = visit.server.connect(signed_in())
    outgrown(visit)
    page, old = visit.page, visit.page.url
    page.click(".notice >> text=Go on with a summary")
    page.wait_for_selector("summary >> text=Summary of the earlier messages")
    assert page.url != old
    assert visit.answers() == [QUESTION.strip()]
    said = page.text_content(".msg.you .soft")
    assert said is not None
    assert "in place of 2 earlier messages. The oldest 1 did not fit, and is not in it." in said
    assert page.locator(".msg.you button[title=Edit]").count() == 1
    assert page.input_value(FIELD) == ""
    page.click(".msg.you .soft a")
    page.wait_for_url(old)
    page.wait_for_selector(".msg.you")
    titles = [one["title"] for one in client.get("/v1/conversations").json()["data"]]
    assert titles == [f"{titles[1]} (continued)", titles[1]]


def test_a_summary_can_be_called_off(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """The question stays in the field, nothing is made, and a failure says why."""
    client = visit.server.connect(signed_in())
    outgrown(visit)
    page = visit.page
    page.route("**/responses/compact", lambda route: None)
    page.click(".notice >> text=Go on with a summary")
    page.wait_for_selector(".notice >> text=Summing up 2 messages")
    page.click(".notice >> text=Cancel")
    page.wait_for_selector(".notice", state="detached")
    assert page.input_value(FIELD) == QUESTION
    page.unroute("**/responses/compact")
    page.locator(FIELD).press("End")
    page.keyboard.type(" !")
    page.wait_for_selector(".notice >> text=Go on with a summary")
    page.route("**/responses/compact", lambda route: route.fulfill(status=503, json={"error": {"message": "No."}}))
    page.click(".notice >> text=Go on with a summary")
    page.wait_for_selector(".notice.bad >> text=No.")
    assert page.input_value(FIELD) == f"{QUESTION} !"
    assert len(client.get("/v1/conversations").json()["data"]) == 1
    visit.complaints.clear()


def test_a_model_that_loads_says_how_far_it_is(browser: BrowserContext, tmp_path: Path) -> None:
    """The list of models and the answer's place show it, and then its context is known."""
    gate = tmp_path / "gate"
    engine = "support.slow_loading.SlowLoadingBackend"
    options = f"{{gate: {gate}, context: 500}}"
    models = f"models: [{{id: late, engine: {engine}, load: lazy, options: {options}}}]"
    with served(f"extends: default\n{models}") as server:
        visit = PageVisit(browser, server)
        visit.sign_in(server.add_user())
        page = visit.page
        page.click("jan-composer .tools button[aria-haspopup=dialog]")
        page.wait_for_selector(".model >> text=not loaded")
        page.keyboard.press("Escape")
        visit.ask("good morning")
        page.wait_for_selector(".state >> text=Loading the model, 25%")
        page.click("jan-composer .tools button[aria-haspopup=dialog]")
        page.wait_for_selector(".model >> text=loading, 25%")
        gate.touch()
        page.wait_for_selector(".model .end:text-is('loaded')")
        page.keyboard.press("Escape")
        assert visit.answers() == ["good morning"]
        page.wait_for_selector(".room [role=meter][aria-valuemax='500']")
        assert page.locator(".write .note").is_hidden()
        assert (visit.complaints, visit.violations) == ([], [])
        page.close()
        browser.clear_cookies()
