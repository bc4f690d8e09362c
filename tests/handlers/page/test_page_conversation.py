"""What a conversation shows of what is stored, and how it stays the same as what is stored, in Chromium."""

from collections.abc import Callable

import pytest
from support.page import PageVisit

pytestmark = pytest.mark.browser

ANSWER = "article.msg:not(.you)"


def choose(visit: PageVisit, model: str) -> None:
    """Choose a model by typing."""
    visit.page.click("jan-composer .tools button[aria-haspopup=dialog]")
    visit.page.fill(".models input", model)
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector(f"jan-composer [aria-label='Model: {model}']")


def test_thoughts_are_there_after_a_reload(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """Folded, with the number of their tokens instead of their time, and not in the text."""
    signed_in()
    choose(visit, "thinker")
    visit.ask("<think>a long thought</think>the answer")
    assert visit.answers() == ["the answer"]
    visit.page.reload()
    assert visit.answers() == ["the answer"]
    page = visit.page
    step = f"{ANSWER} details.step"
    assert page.text_content(f"{step} summary > span") == "Thought"
    assert page.locator(f"{step} .tail").inner_text().endswith("tokens")
    assert not page.locator(step).get_attribute("open")
    page.click(f"{step} summary")
    assert page.inner_text(f"{step} > div") == "a long thought"


def test_calls_and_results_are_there_after_a_reload(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """Of functions and of custom tools; what a tool gave is text, whatever it looks like."""
    client = visit.server.connect(signed_in())
    place = client.post("/v1/conversations", json={"title": "Tools"}).json()["id"]
    output = "<b>12 degrees</b>"
    call = {"type": "function_call", "call_id": "1", "name": "weather", "arguments": '{"city":"Oslo"}'}
    custom = {"type": "custom_tool_call", "call_id": "2", "name": "shell", "input": "date"}
    items = [
        {"role": "user", "content": "How warm is it?"},
        call,
        {"type": "function_call_output", "call_id": "1", "output": output},
        custom,
        {"type": "custom_tool_call_output", "call_id": "2", "output": "today"},
        {"role": "assistant", "content": "It is 12 degrees."},
    ]
    made = client.post(f"/v1/conversations/{place}/items", json={"items": items})
    assert made.status_code == 200, made.text
    visit.open(f"?c={place}")
    page = visit.page
    page.wait_for_selector("text=It is 12 degrees.")
    assert page.locator("details.step summary > span:first-of-type").all_text_contents() == [
        "weather",
        "Result of a tool",
        "shell",
        "Result of a tool",
    ]
    for summary in page.locator("details.step summary").all():
        summary.click()
    page.wait_for_selector("details[open] pre >> text=today")
    shown = page.locator("details.step > div").all_inner_texts()
    assert shown == ['{"city":"Oslo"}', output, "date", "today"]
