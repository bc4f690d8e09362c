"""Swagger UI as a person uses it: in a browser."""

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Locator, Page
from support.browser import chromium
from support.server import MODEL, ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.model]


class Visit:
    """A page, and what it asked for and complained of."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.origin = origin
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("requestfailed", lambda request: self.complaints.append(f"{request.url}: {request.failure}"))

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def expand(self, operation_id: str) -> Locator:
        """Open an operation, ready to be tried."""
        operation = self.page.locator(f"[id$='-{operation_id}']")
        operation.locator(".opblock-summary-control").click()
        operation.get_by_role("button", name="Try it out").click()
        return operation

    def foreign_requests(self) -> list[str]:
        """Return the requests to any host but the server."""
        return [url for url in self.requests if not url.startswith((f"{self.origin}/", "data:"))]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    with chromium(tmp_path_factory.mktemp("profile"), viewport={"width": 1280, "height": 1000}) as context:
        yield context


@pytest.fixture
def visit(browser: BrowserContext, model_server: ServerProcess) -> Visit:
    """A fresh page of Swagger UI; it is closed with the browser."""
    visit = Visit(browser.new_page(), model_server.url)
    visit.page.goto(f"{model_server.url}/api/swagger/index.html")
    visit.page.wait_for_selector(".opblock")
    return visit


def test_a_person_tries_out_a_chat_completion(visit: Visit) -> None:
    """Expand the chat endpoint, try it out, execute its first example: a 200 with a model's answer shows;
    nothing is asked of another host, and the browser's console stays clean."""
    operation = visit.expand("chat_completions_post")
    operation.get_by_role("button", name="Execute").click()
    shown = operation.locator(".live-responses-table")
    assert shown.locator("tr.response td.response-col_status").inner_text().split()[0] == "200"
    answer = json.loads(shown.locator(".response-col_description .highlight-code code").first.inner_text())
    assert answer["object"] == "chat.completion"
    assert answer["model"] == MODEL
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert answer["choices"][0]["message"]["content"]
    assert visit.foreign_requests() == []
    assert f"{visit.origin}/api/v1/chat/completions" in visit.requests
    assert visit.complaints == []


def test_a_person_chooses_an_example_by_its_words(visit: Visit) -> None:
    """The examples are offered by what they show; the chosen one fills the body, and the streamed one
    answers with events up to the end of the stream."""
    operation = visit.expand("chat_completions_post")
    choice = operation.locator("select.examples-select-element")
    words = choice.locator("option").all_inner_texts()
    assert "The same, streamed" in words
    choice.select_option(label="The same, streamed")
    assert json.loads(operation.locator("textarea.body-param__text").input_value())["stream"] is True
    operation.get_by_role("button", name="Execute").click()
    body = operation.locator(".live-responses-table tr.response .response-col_description .highlight-code")
    assert body.first.inner_text().rstrip().endswith("data: [DONE]")
    assert visit.foreign_requests() == []
    assert visit.complaints == []


def test_locks_say_the_truth(visit: Visit, model_server: ServerProcess) -> None:
    """What is public has no lock. All others are open, those that may go without credentials too, until there is a
    key, or the browser is signed in by its cookie. The dialog says so and asks for no cookie; a link leads to the
    web page."""
    page, lock = visit.page, ".authorization__btn"

    def locks() -> list[str]:
        labels = "all => all.map(one => one.ariaLabel).join()"
        names = ("health_get", "models_get", "user_profile_get")
        return [page.locator(f"[id$='-{name}'] {lock}").evaluate_all(labels) for name in names]

    opened, closed = "authorization button unlocked", "authorization button locked"
    assert locks() == ["", opened, opened]
    page.locator("button.authorize").first.click()
    dialog = page.locator(".dialog-ux .modal-ux")
    assert "sends its cookie by itself" in dialog.inner_text()
    offered = [text.split()[0] for text in dialog.locator("h4").all_inner_texts()]
    assert offered == ["bearer", "x-api-key", "api-key"]
    dialog.locator("#auth-bearer-value").fill("jan_x")
    dialog.get_by_role("button", name="Apply credentials").first.click()
    page.locator(f"[id$='-models_get'] [aria-label='{closed}']").wait_for()
    assert locks() == ["", closed, closed]
    key = json.dumps({"credential": model_server.admin_key})
    sign_in = "body => fetch('/api/v1/auth/session', {method: 'POST', body}).then(answer => answer.json())"
    assert page.evaluate(sign_in, key)["object"] == "session"
    page.reload()
    page.locator(f"[id$='-models_get'] [aria-label='{closed}']").wait_for()
    assert locks() == ["", closed, closed]
    page.evaluate("fetch('/api/v1/auth/session', {method: 'DELETE'}).then(answer => answer.json())")
    assert visit.complaints == []
    page.get_by_role("link", name="To the web page").click()
    page.wait_for_url(re.compile(f"^{re.escape(model_server.url)}/(?!api/)"))


def test_every_operation_of_the_document_is_on_the_page(visit: Visit, model_server: ServerProcess) -> None:
    """The page shows each operation of the OpenAPI document with its summary."""
    document = visit.page.request.get(f"{model_server.url}/api/openapi.json").json()
    wanted = {
        f"{method.upper()} {path} {operation['summary']}"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    shown = {
        " ".join(block.inner_text().replace("\u200b", "").split())
        for block in visit.page.locator(".opblock-summary-control").all()
    }
    assert shown == wanted
    assert visit.complaints == []
