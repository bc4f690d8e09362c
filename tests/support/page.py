"""The web page in a browser: a visit, and what it asked for and complained of."""

from pathlib import Path

from playwright.sync_api import BrowserContext, Page, Request, Response

from jan.testing import ThreadServer
from support.server import ServerProcess

FIELD = "jan-composer textarea"
#: A script: whatever runs would have to touch one of these.
TRIPWIRE = """
for (const name of ["alert", "confirm", "prompt", "open"]) window[name] = () => noteViolation(`ran ${name}`);
addEventListener("error", event => noteViolation(`error ${event.message}`));
"""
#: Elements and attributes that could run or load something.
DANGEROUS = """() => {
    const names = "script iframe object embed base link meta style img video audio foreignobject".split(" ");
    const isBad = ({name, value}) => name.startsWith("on")
        || /^\\s*(javascript|data|vbscript):/i.test(value) && name !== "aria-label";
    return [...document.querySelectorAll("main#page *, .side *, .top *, dialog *, [popover] *")]
        .filter(element => names.includes(element.tagName.toLowerCase()) || [...element.attributes].some(isBad))
        .map(element => element.outerHTML.slice(0, 200));
}"""


class Gate:
    """Holds answers back in the middle. ``path``: the file that opens it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> None:
        """Let answers go on."""
        self.path.touch()


class PageVisit:
    """A visit of the page. ``violations``: what its Content-Security-Policy refused."""

    def __init__(self, context: BrowserContext, server: ThreadServer | ServerProcess) -> None:
        self.server = server
        self.page: Page = context.new_page()
        self.requests: list[Request] = []
        self.complaints: list[str] = []
        self.violations: list[str] = []
        self.page.expose_function("noteViolation", lambda told: self.violations.append(told))
        self.page.add_init_script(
            "addEventListener('securitypolicyviolation',"
            "  event => noteViolation(`${event.violatedDirective} ${event.blockedURI}`))"
        )
        self.page.on("request", lambda request: self.requests.append(request))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error.stack or error)))
        self.page.on("response", self._answered)
        self.page.on("console", lambda message: message.type == "warning" and self.complaints.append(message.text))

    def _answered(self, response: Response) -> None:
        # Without a session the profile is a 401: this is how the page learns it. Markdown needs a renderer.
        if response.status >= 400 and not response.url.endswith(("/user/profile", "/auth/session", "/render")):
            self.complaints.append(f"{response.status} {response.url}")

    def open(self, query: str = "") -> None:
        """Go to a place of the page."""
        self.page.goto(f"{self.server.url}/{query}")

    def sign_in(self, key: str, query: str = "") -> None:
        """Open the page and sign in with an API key."""
        self.open(query)
        self.page.fill("#key", key)
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector(FIELD, state="attached")

    def ask(self, text: str) -> None:
        """Write a message and send it."""
        self.page.fill(FIELD, text)
        self.page.keyboard.press("Enter")

    def answers(self) -> list[str]:
        """Return the texts of the answers that are shown, the finished ones."""
        # The browser does not render what is out of sight.
        ended = "article.msg:last-of-type:not(.you):not([aria-busy]) .acts button"
        self.page.wait_for_selector(ended, state="attached")
        self.page.wait_for_selector(".msg:not(.you) .text:empty", state="detached")
        return self.page.locator(".msg:not(.you) .text").all_text_contents()

    def foreign(self) -> list[str]:
        """Return the requests to any host but the server."""
        return [request.url for request in self.requests if not request.url.startswith(f"{self.server.url}/")]


def choose_model(visit: PageVisit, model: str) -> None:
    """Choose a model by typing."""
    visit.page.click("jan-composer .tools button[aria-haspopup=dialog]")
    visit.page.fill(".models input", model)
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector(f"jan-composer [aria-label='Model: {model}']")
