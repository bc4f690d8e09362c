"""What others write is text on the page, never a part of it."""

import json
from collections.abc import Callable

import httpx
import pytest
from support.page import DANGEROUS, TRIPWIRE, PageVisit
from support.server import ROOT

pytestmark = pytest.mark.browser

LISTED = json.loads((ROOT / "tests" / "support" / "hostile_texts.json").read_text(encoding="utf-8"))
TEXTS = [one["text"] for one in LISTED]


def filled(client: httpx.Client, texts: list[str]) -> str:
    """Return a conversation that has each text as a question and as an answer, and one as its title."""
    made = client.post("/v1/conversations", json={"title": "<img src=x onerror=alert(1)>", "model": "echo"}).json()
    for text in texts:
        for role in ("user", "assistant"):
            body = {"role": role, "content": text, "model": "<b onclick=alert(1)>m"}
            assert client.post(f"/v1/conversations/{made['id']}/messages", json=body).status_code == 200
    return str(made["id"])


@pytest.mark.parametrize("part", range(3))
def test_no_text_runs_or_loads_anything(visit: PageVisit, signed_in: Callable[[], str], part: int) -> None:
    """Stored texts as questions, answers, names of models and titles: no script runs, nothing is asked of another
    host, no element and no attribute is there that could."""
    visit.page.add_init_script(TRIPWIRE)
    client = visit.server.connect(signed_in())
    texts = TEXTS[part::3]
    place = filled(client, texts)
    visit.open(f"?c={place}")
    page = visit.page
    page.wait_for_selector(f":nth-match(article, {2 * min(len(texts), 50)})", state="attached")
    while page.locator(".above:not([hidden])").count():
        page.evaluate("() => scrollTo(0, 0)")
        page.wait_for_timeout(50)
    page.wait_for_selector(".msg:not(.you) .text:empty", state="detached")
    assert page.locator("article").count() == 2 * len(texts)
    page.evaluate("() => { for (const one of document.querySelectorAll('summary, .text button')) one.click(); }")
    assert page.evaluate(DANGEROUS) == []
    visit.open(f"?view=tree&c={place}")
    page.wait_for_selector("[role=tree]")
    assert page.evaluate(DANGEROUS) == []


def test_a_streamed_answer_runs_nothing_either(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """While it is written, the open block is text too."""
    visit.page.add_init_script(TRIPWIRE)
    signed_in()
    visit.page.reload()
    visit.page.wait_for_selector("jan-composer textarea")
    visit.ask("\n\n".join(TEXTS[:60]))
    visit.answers()
    assert visit.page.evaluate(DANGEROUS) == []


def test_no_name_of_a_folder_runs_anything(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """In the list, in menus, in the dialog that moves a conversation, in the archive."""
    visit.page.add_init_script(TRIPWIRE)
    client = visit.server.connect(signed_in())
    names = [text for text in TEXTS if len(text) <= 100 and text.isprintable() and text.strip()][:12]
    for name in names:
        ident = client.post("/v1/conversations", json={"title": name}).json()["id"]
        place = {"folder": name, "archived": name == names[0], "pinned": name == names[1]}
        assert client.patch(f"/v1/conversations/{ident}", json=place).status_code == 200
    visit.open("?view=archive")
    page = visit.page
    page.wait_for_selector(".archived li")
    assert page.locator(".fold").count() == len(names) - 2
    page.evaluate("() => { for (const one of document.querySelectorAll('.fold .line')) one.click(); }")
    page.wait_for_selector(f".inside li >> nth={len(names) - 3}", state="attached")
    page.locator(".pinned li .act").focus()
    page.keyboard.press("Enter")
    page.click("[role=menuitem] >> text=Move")
    page.wait_for_selector(f"dialog li >> nth={len(names)}", state="attached")
    assert page.evaluate(DANGEROUS) == []


def test_names_and_what_tools_say_run_nothing(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """Names of people, keys and files, and calls of tools with their results, folded and opened."""
    visit.page.add_init_script(TRIPWIRE)
    client, page = visit.server.connect(signed_in()), visit.page
    made = client.post("/v1/conversations", json={"title": TEXTS[2], "model": "echo"}).json()
    messages = f"/v1/conversations/{made['id']}/messages"
    for number, text in enumerate(TEXTS):
        name = "".join(text.splitlines())
        file = {"type": "text", "text": f"\n\n{name}.txt:\n```txt\n{text}\n```"}
        call = {"id": f"call_{number}", "type": "function", "function": {"name": "look", "arguments": text}}
        for body in (
            {"role": "user", "content": [{"type": "text", "text": "read"}, file]},
            {"role": "assistant", "content": "", "tool_calls": [call], "reasoning_content": text},
            {"role": "tool", "tool_call_id": f"call_{number}", "content": text},
        ):
            assert client.post(messages, json=body).status_code == 200, (text, body)
    for text in TEXTS[:20]:
        client.post("/v1/user/api-keys", json={"name": text[:200], "permissions": ["read"]})
    assert client.patch("/v1/user/profile", json={"name": TEXTS[2]}).status_code == 200
    visit.open(f"?c={made['id']}")
    page.wait_for_selector(".msg.you summary", state="attached")
    while page.locator(".above:not([hidden])").count():
        page.evaluate("() => scrollTo(0, 0)")
        page.wait_for_timeout(50)
    page.evaluate("() => { for (const one of document.querySelectorAll('summary')) one.click(); }")
    assert page.evaluate(DANGEROUS) == []
    for part in ("keys", "activity"):
        visit.open(f"?account={part}")
        page.wait_for_selector("tbody th")
        assert page.evaluate(DANGEROUS) == []
