"""What a conversation shows of what is stored, and how it stays the same as what is stored, in Chromium."""

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Route
from support.page import FIELD, PageVisit

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
    assert (page.text_content(f"{step} .tail") or "").endswith("tokens")
    assert not page.locator(step).get_attribute("open")
    page.click(f"{step} summary")
    page.wait_for_selector(f"{step} > div p")
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


def stored(client: httpx.Client) -> list[tuple[str, str]]:
    """The roles and texts of the messages of a user's one conversation."""
    (place,) = client.get("/v1/conversations").json()["data"]
    messages = client.get(f"/v1/conversations/{place['id']}/messages").json()["data"]
    return [(message["role"], message["content"]) for message in messages]


@pytest.mark.parametrize("path", ["conversations", "responses"])
@pytest.mark.parametrize("arrives", [True, False], ids=["carried-out", "lost"])
def test_a_question_whose_answer_is_lost_is_there_once(
    visit: PageVisit, signed_in: Callable[[], str], path: str, arrives: bool
) -> None:
    """The connection ends in the middle of the request, after the server has it or before: in the end there is one
    conversation with one question and one answer, on the page and in the store."""
    client = visit.server.connect(signed_in())
    cut = []

    def cut_once(route: Route) -> None:
        if cut or route.request.method != "POST":
            return route.continue_()
        cut.append(route.request.post_data_json)
        if arrives:
            route.fetch()
        return route.abort()

    visit.page.route(f"**/{path}", cut_once)
    visit.ask("only once")
    if path == "conversations":  # nothing is stored yet: the person says when to go on
        visit.page.click(".notice button >> text=Try again")
    assert visit.answers() == ["only once"]
    assert visit.page.locator("article").count() == 2
    assert visit.page.input_value(FIELD) == ""
    assert stored(client) == [("user", "only once"), ("assistant", "only once")]


def test_a_question_sent_again_by_hand_is_there_once(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """The network is lost as soon as the server has the question, and stays away. The question is in the field;
    sent again, it shows the answer that the server made."""
    client = visit.server.connect(signed_in())
    away = []

    def lose(route: Route) -> None:
        if route.request.url.endswith("/responses") and not away:
            route.fetch()
            away.append(True)
        if away == [True]:
            return route.abort()
        return route.continue_()

    visit.page.route("**/api/v1/**", lose)
    visit.ask("only once")
    visit.page.wait_for_selector(".notice >> text=No connection")
    assert visit.page.input_value(FIELD) == "only once"
    away.append(False)
    visit.page.click(".notice button >> text=Try again")
    assert visit.answers() == ["only once"]
    assert stored(client) == [("user", "only once"), ("assistant", "only once")]


def test_what_another_device_asks_is_shown(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """In the conversation that is open, however much it is, and in the list."""
    client = visit.server.connect(signed_in())
    visit.ask("first")
    assert visit.answers() == ["first"]
    (place,) = client.get("/v1/conversations").json()["data"]
    for number in range(30):
        body = {"role": "user", "content": f"from the phone {number}"}
        assert client.post(f"/v1/conversations/{place['id']}/messages", json=body).status_code == 200
    asked = {"model": "echo", "input": "last of all", "conversation": place["id"]}
    assert client.post("/v1/responses", json=asked).status_code == 200
    visit.page.wait_for_selector(f"{ANSWER} >> text=last of all", state="attached")
    assert visit.page.locator("article").count() == 34
    assert client.post("/v1/conversations", json={"title": "Of the phone"}).status_code == 200
    visit.page.wait_for_selector(".side nav a >> text=Of the phone")
