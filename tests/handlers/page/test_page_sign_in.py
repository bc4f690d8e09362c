"""The ways into the page: a link, a failed sign-in at the provider, and no session at all, in Chromium."""

import pytest
from support.page import FIELD, PageVisit

from jan.people.store_keeper import FIRST_ADMIN

pytestmark = pytest.mark.browser


def new_link(visit: PageVisit) -> str:
    """The fragment of a fresh link for the administrator."""
    services = visit.server.application.services
    admin = visit.server.run(services.users.find_by_email(FIRST_ADMIN))
    assert admin is not None
    return f"#start={visit.server.run(services.browsers.make_link(admin))}"


def test_a_link_signs_in_and_leaves_no_trace(visit: PageVisit) -> None:
    """Its code is out of the address and the history. In a tab that shows the page already it works too. Used
    again, it says what to do."""
    link, page = new_link(visit), visit.page
    visit.open(link)
    page.wait_for_selector(FIELD, state="attached")
    assert page.url == f"{visit.server.url}/"
    assert page.evaluate("fetch('/api/v1/user/profile').then(answer => answer.json())")["role"] == "admin"
    page.evaluate("fetch('/api/v1/auth/session', {method: 'DELETE'}).then(answer => answer.json())")
    visit.open()
    page.wait_for_selector("#key")
    visit.open(link)
    page.wait_for_selector("text=This link was used before")
    assert page.url == f"{visit.server.url}/"
    visit.open(new_link(visit))
    page.wait_for_selector(FIELD, state="attached")


@pytest.mark.parametrize(
    ("fragment", "told"),
    [("access_denied", "The sign-in failed (access_denied)."), ("<b>Call 0123</b>", ""), ("Call_me", "")],
)
def test_a_failed_sign_in_has_a_way_on(visit: PageVisit, fragment: str, told: str) -> None:
    """The page says the code and offers what there is: here a key, and no provider. Anything else that somebody
    writes into a link is not shown."""
    visit.open(f"#sign_in_error={fragment}")
    visit.page.wait_for_selector("#key")
    shown = visit.page.inner_text("body")
    assert told in shown
    assert ("failed" in shown) == (told != "")
    assert "Call" not in shown
    assert "Google" not in shown


def test_without_a_session_nothing_is_refused(visit: PageVisit) -> None:
    """The page asks who is signed in without an error, which would count for the address."""
    answers: list[int] = []
    visit.page.on("response", lambda response: answers.append(response.status))
    visit.open()
    visit.page.wait_for_selector("#key")
    assert [status for status in answers if status >= 400] == []
