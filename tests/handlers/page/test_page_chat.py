"""The page as a person uses it, in Chromium."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Route
from support.foreign_exports import chatgpt, claude, session_lines
from support.page import FIELD, Gate, PageVisit, choose_model

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


def test_a_draft_of_a_new_conversation_is_kept(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """It is there after a reload, and after a session that ended and another sign-in."""
    key = signed_in()
    visit.page.fill(FIELD, "a thought for later")
    visit.page.reload()
    visit.page.wait_for_selector(FIELD)
    assert visit.page.input_value(FIELD) == "a thought for later"
    visit.page.context.clear_cookies()
    visit.sign_in(key)
    visit.page.wait_for_selector(FIELD)
    assert visit.page.input_value(FIELD) == "a thought for later"


def test_stop_is_there_while_an_answer_is_made(visit: PageVisit, signed_in: Callable[[], str], gate: Gate) -> None:
    """It goes away with the end of the answer."""
    signed_in()
    choose_model(visit, "held")
    visit.ask("one gate two")
    stop = "jan-composer button:has-text('Stop')"
    visit.page.wait_for_selector(stop)
    gate.open()
    visit.page.wait_for_selector(stop, state="hidden")
    assert visit.answers() == ["one gate two"]


def test_what_is_sent_early_is_not_lost(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """The field can be used before the page knows the list and the models; the question waits for them."""
    signed_in()
    held: list[Route] | None = []

    def hold(route: Route) -> None:
        route.continue_() if held is None else held.append(route)

    visit.page.route(re.compile(r"/v1/(models|conversations\?)"), hold)
    visit.page.reload()
    visit.ask("Too early?")
    assert visit.page.input_value(FIELD) == "Too early?"
    held, waiting = None, held
    for route in waiting:
        route.continue_()
    assert visit.answers() == ["Too early?"]


def test_a_question_without_models_stays(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """Where the list of models can't be read, the page says so and the question goes out with the next try."""
    signed_in()
    visit.page.route(re.compile("/v1/models"), lambda route: route.abort())
    visit.page.reload()
    visit.ask("Anybody there?")
    visit.page.wait_for_selector("jan-composer .notice")
    assert visit.page.input_value(FIELD) == "Anybody there?"
    visit.page.unroute_all()
    visit.page.click("jan-composer .notice button")
    assert visit.answers() == ["Anybody there?"]


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


WORDS = "w0 w1 w2 w3 gate w4 w5"


def test_an_answer_goes_on_without_the_page(visit: PageVisit, signed_in: Callable[[], str], gate: Gate) -> None:
    """A reload in mid-answer shows all of it in the end, once."""
    signed_in()
    choose_model(visit, "held")
    visit.ask(WORDS)
    visit.page.wait_for_selector(".msg[aria-busy] .text >> text=w3")
    visit.page.reload()
    gate.open()
    assert visit.answers() == [WORDS]


def test_versions_of_question_and_answer_are_kept(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """Editing and regenerating make versions; each is reachable with what follows it."""
    signed_in()
    visit.ask("first question")
    visit.answers()
    page = visit.page
    page.click(".msg.you button[title=Edit]")
    page.fill(".editing textarea", "second question")
    page.keyboard.press("Enter")
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


def test_stop_ends_the_answer_at_the_server(visit: PageVisit, signed_in: Callable[[], str], gate: Gate) -> None:
    """Escape stops it: what was written stays, the server computes no more, and there is a way on."""
    client = visit.server.connect(signed_in())
    choose_model(visit, "held")
    visit.ask(WORDS)
    visit.page.wait_for_selector(".msg[aria-busy] .text >> text=w3")
    visit.page.keyboard.press("Escape")
    visit.page.wait_for_selector(".state >> text=Stopped")
    (conversation,) = client.get("/v1/conversations").json()["data"]
    _, answer = client.get(f"/v1/conversations/{conversation['id']}/messages").json()["data"]
    assert answer["status"] == "partial"
    assert answer["content"].strip() == "w0 w1 w2 w3"
    assert visit.answers() == [answer["content"].strip()]
    assert visit.page.locator(".state button >> text=Go on writing").count() == 1


def test_two_pages_see_the_same_answer_grow(
    visit: PageVisit, signed_in: Callable[[], str], browser: BrowserContext, gate: Gate
) -> None:
    """A second page follows an answer that the first one asked for, and may stop it for both."""
    signed_in()
    choose_model(visit, "held")
    visit.ask(WORDS)
    visit.page.wait_for_selector(".msg[aria-busy] .text >> text=w3")
    other = browser.new_page()
    other.goto(visit.page.url)
    other.wait_for_selector(".msg[aria-busy] .text >> text=w3")
    other.click("jan-composer button:has-text('Stop')")
    other.wait_for_selector(".state >> text=Stopped")
    visit.page.wait_for_selector(".state >> text=Stopped")
    assert visit.page.text_content(".msg:not(.you) .text") == other.text_content(".msg:not(.you) .text")
    other.close()


def test_a_refused_question_stays_in_the_field(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """A model that can't take it is named with its limit; nothing is stored, and another model may be asked."""
    client = visit.server.connect(signed_in())
    choose_model(visit, "small")
    words = "word " * 60
    visit.page.fill(FIELD, words)
    visit.page.wait_for_selector(".notice.warn >> text=small takes 40")
    assert visit.page.locator("jan-composer button[title=Send]").is_disabled()
    visit.page.click(".notice >> text=Ask another model")
    visit.page.fill(".models input", "echo")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector("jan-composer [aria-label='Model: echo']")
    assert visit.page.input_value(FIELD) == words
    visit.page.locator(FIELD).press("Enter")
    assert visit.answers() == [words.strip()]
    assert len(client.get("/v1/conversations").json()["data"]) == 1


def test_files_go_with_a_question(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """A text file and a long paste are added, shown folded, and reach the model; what is no text is told."""
    signed_in()
    page = visit.page
    page.set_input_files(
        "input[type=file]", [{"name": "a.csv", "mimeType": "text/csv", "buffer": b"month,rain\n"}]
    )
    page.wait_for_selector(".files >> text=a.csv")
    page.set_input_files("input[type=file]", [{"name": "b.bin", "mimeType": "x/y", "buffer": b"\0\1\xff"}])
    page.wait_for_selector(".notice >> text=Only text and PDF")
    visit.ask("Read this")
    (answer,) = visit.answers()
    assert "month,rain" in answer
    assert page.locator(".msg.you summary >> text=a.csv").count() == 1
    assert page.inner_text(".side nav a[aria-current]") == "Read this"


def test_a_question_says_where_it_waits(visit: PageVisit, signed_in: Callable[[], str], gate: Gate) -> None:
    """The place in the model's queue is shown, and later how long it took."""
    other = visit.server.connect(visit.server.add_user())
    body = {"model": "held", "input": WORDS, "background": True}
    first = other.post("/v1/responses", json=body).json()["id"]
    signed_in()
    choose_model(visit, "held")
    visit.ask("wait for it")
    visit.page.wait_for_selector(".state >> text=Place 1 in the queue")
    other.post(f"/v1/responses/{first}/cancel")
    assert visit.answers() == ["wait for it"]
    visit.page.wait_for_selector(".step >> text=at place 1")


def test_old_messages_are_left_out_openly(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """A conversation that has outgrown its model goes on without its oldest messages if the reader says so."""
    signed_in()
    choose_model(visit, "small")
    visit.ask("word " * 15)
    visit.answers()
    visit.ask("more " * 12)
    visit.page.click(".notice >> text=Leave out the oldest messages")
    visit.page.wait_for_selector(".msg.you >> nth=1", state="attached")
    assert visit.answers()[-1] == ("more " * 12).strip()
    visit.page.wait_for_selector(".step >> text=The model did not get", state="attached")
    assert visit.complaints == [f"400 {visit.server.url}/api/v1/responses"]
    visit.complaints.clear()


def test_a_temporary_conversation_is_stored_nowhere(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """The page says so. The model gets what was said before, answers have versions, and a reload ends it."""
    client = visit.server.connect(signed_in())
    page = visit.page
    page.click("main a >> text=Temporary conversation")
    page.wait_for_selector("text=Nothing of this conversation is stored.")
    visit.ask("first secret")
    assert visit.answers() == ["first secret"]
    visit.ask("second secret")
    page.wait_for_selector(".msg.you >> nth=1", state="attached")
    assert visit.answers() == ["first secret", "second secret"]
    page.locator(".msg:not(.you) button[title=Regenerate]").last.click()
    page.wait_for_selector(".ways[aria-label='Version 2 of 2']", state="attached")
    assert visit.answers() == ["first secret", "second secret"]
    assert client.get("/v1/conversations").json()["data"] == []
    assert page.evaluate("() => JSON.stringify(localStorage).includes('secret')") is False
    page.reload()
    page.wait_for_selector("text=Nothing of this conversation is stored.")
    assert page.locator(".msg").count() == 0


def test_conversations_come_and_go_as_files(
    visit: PageVisit, signed_in: Callable[[], str], tmp_path: Path
) -> None:
    """A file of another application is imported once, and the page imports what it exported."""
    client = visit.server.connect(signed_in())
    page = visit.page
    foreign = json.dumps([chatgpt(1), claude(2)]).encode()
    file = {"name": "conversations.json", "mimeType": "application/json", "buffer": foreign}
    visit.open("?account=data")
    page.wait_for_selector("#part")
    page.set_input_files("main input[type=file]", [file])
    page.wait_for_selector("text=2 of 2 imported, 0 were here already")
    page.wait_for_selector(".side nav >> text=Talk 1")
    page.set_input_files("main input[type=file]", [file])
    page.wait_for_selector("text=0 of 2 imported, 2 were here already")
    with page.expect_download() as download:
        page.click("main button >> text=Export all conversations")
    own = tmp_path / "own.jsonl"
    download.value.save_as(own)
    page.set_input_files("main input[type=file]", [own])
    page.wait_for_selector("text=0 of 2 imported, 2 were here already")
    first = client.get("/v1/conversations").json()["data"][0]["id"]
    client.delete(f"/v1/conversations/{first}")
    page.set_input_files("main input[type=file]", [own])
    page.wait_for_selector("text=1 of 2 imported, 1 were here already")
    assert len(client.get("/v1/conversations").json()["data"]) == 2
    assert {complaint[:3] for complaint in visit.complaints} == {"409"}
    visit.complaints.clear()


def test_a_large_file_is_imported_in_parts(visit: PageVisit, signed_in: Callable[[], str], tmp_path: Path) -> None:
    """Pictures are not sent. A conversation that is too large for a request is named by its place in the file."""
    signed_in()
    several = [claude(number) for number in range(4)]
    several[0]["chat_messages"][0]["content"][0]["text"] += "é" * 1_500_000
    several[1]["chat_messages"][0]["content"][0]["text"] += "![](data:image/png;base64," + "QUJD" * 1_500_000 + ")"
    several[2]["chat_messages"][0]["content"][0]["text"] += "word " * 1_000_000
    file = tmp_path / "conversations.json"
    file.write_text(json.dumps(several, ensure_ascii=False))
    visit.open("?account=data")
    page = visit.page
    page.wait_for_selector("#part")
    page.set_input_files("main input[type=file]", file)
    page.wait_for_selector("text=3 of 4 imported, 0 were here already")
    page.click("main summary >> text=2")
    page.wait_for_selector("main li >> text=3: The body is too large")
    assert {complaint[:3] for complaint in visit.complaints} == {"413"}
    visit.complaints.clear()
    lines = file.with_suffix(".jsonl")
    lines.write_text("\n".join(session_lines(n).replace("Question", "word " * 300_000) for n in range(3)))
    page.set_input_files("main input[type=file]", lines)
    page.wait_for_selector("text=3 of 3 imported, 0 were here already")


def test_messages_of_all_conversations_are_found(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """Hits of a conversation stand together, with what was searched for marked, and lead to their message."""
    signed_in()
    visit.ask("Where is the café?")
    visit.answers()
    visit.ask("And the garden?")
    visit.page.wait_for_selector(".msg.you >> nth=1", state="attached")
    visit.answers()
    page = visit.page
    visit.open("?search=cafe")
    page.wait_for_selector(".hits a.hit mark >> text=café")
    assert page.locator(".hits li").count() == 1
    assert page.locator(".hits a.hit").count() == 2
    page.click(".hits a.hit >> nth=0")
    page.wait_for_selector(".msg.you")
    assert "&m=msg_" in page.url
    visit.open("?search=nothing+like+it")
    page.wait_for_selector("text=Nothing has “nothing like it” in it.")
