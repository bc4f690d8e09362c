"""Long lists, long conversations and many answers on the page, in Chromium."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from support.page import FIELD, PageVisit
from support.trace import Memory, traced

from jan.idempotency.ids import IdSource
from jan.schema.stored_items import items_made_of
from jan.storage.records import ConversationRecord, MessageRecord
from jan.testing import ThreadServer, served

pytestmark = pytest.mark.browser

# W3C Long Tasks: what takes more is felt.
LONG_TASK_MS = 50
TEXT = (
    "Some **words** on number {n}, with `code` and a [link](https://example.org).\n\n- one\n- two\n\n"
    "```python\ndef f(x):\n    return x + {n}\n```\n\nAnd a last paragraph that is somewhat longer."
)
# Shows an answer that has ended as if it was written now, so many times.
REPLAY = """async ([id, times]) => {
    const base = document.querySelector("script[type=module]").src;
    const { Answer } = await import(new URL("chat/answer.js", base));
    const { runningAs, watch } = await import(new URL("chat/running.js", base));
    const { MessageView } = await import(new URL("chat/message.js", base));
    const show = async (place) => {
        const answer = watch(new Answer("conv_x", null, "echo"));
        const message = {id, role: "assistant", content: "", status: "streaming", created_at: 1, live: answer};
        place.replaceChildren(new MessageView(message, {versions: () => [id]}).element);
        await answer.resume(id);
        if (answer.state !== "complete") throw new Error(answer.state);
    };
    const lanes = Array.from({length: 4}, async () => {
        const place = document.createElement("div");
        document.querySelector("main").append(place);
        for (let count = 0; count < times / 4; count += 1) await show(place);
        place.remove();
    });
    await Promise.all(lanes);
    // Answers are remembered for a moment after their end.
    while (runningAs(id)) await new Promise((next) => setTimeout(next, 100));
}"""
DOWN = """() => {
    document.querySelector(".side nav").scrollBy(0, 5000);
    return document.querySelectorAll(".side nav li").length;
}"""
MOVED = """async () => {
    document.querySelectorAll("article")[100].scrollIntoView();
    scrollBy(0, 100);
    for (let frame = 0; frame < 3; frame += 1) await new Promise(requestAnimationFrame);
}"""
# The message below the bar, and its height in the window.
READ = """() => {
    const read = [...document.querySelectorAll("article")].find((one) => one.getBoundingClientRect().bottom > 64);
    return [read.dataset.id, read.getBoundingClientRect().top];
}"""
IS_THERE = """([id, top]) => {
    const read = document.querySelector(`[data-id="${id}"]`);
    return read && Math.abs(read.getBoundingClientRect().top - top) < 3;
}"""
AT_END = "() => innerHeight + scrollY >= document.documentElement.scrollHeight - 2"
# Playwright's own search among all elements takes longer than any task of the page.
ANSWERED = "() => Boolean(document.querySelector('jan-thread').newest?.querySelector('.facts'))"
ENDS = "() => [...document.querySelectorAll('article')].map(one => one.textContent.match(/umber (\\d+)/)?.[1])"


@pytest.fixture(scope="module")
def page_server() -> Iterator[ThreadServer]:
    """A server with room for all that is asked. Its log stays free of errors."""
    limits = "limits: {authenticated: 'off', anonymous: 'off', inference: 'off'}"
    echo = "models: [{id: echo, engine: echo, options: {context: 10000000}}]"
    with served(f"extends: default\n{limits}\n{echo}\nserver: {{host: 127.0.0.1, grace_seconds: 1}}") as server:
        yield server
        assert server.errors == []


def message(number: int) -> MessageRecord:
    """The message of a number: questions are odd."""
    is_question = number % 2 == 1
    return MessageRecord(
        id=f"msg_{number:026d}",
        conversation_id="conv_x",
        parent_id=f"msg_{number - 1:026d}" if number > 1 else None,
        role="user" if is_question else "assistant",
        items=items_made_of(f"Question number {number}" if is_question else TEXT.format(n=number)),
        model=None if is_question else "echo",
        sequence=number,
    )


def fill(visit: PageVisit, key: str, conversations: int, messages: int = 0) -> str:
    """Store conversations of a user, an hour apart; the newest one has so many messages. Returns its id."""
    server = visit.server
    user = server.connect(key).get("/v1/user/profile").json()["id"]
    restore = server.application.services.conversations.restore

    async def store() -> str:
        made, now = "", datetime.now(UTC)
        for number in range(conversations):
            count = messages if number == conversations - 1 else 0
            then = now - timedelta(hours=conversations - number)
            record = ConversationRecord(
                user_id=user,
                title=f"Conversation {number}",
                model="echo",
                created_at=then,
                updated_at=then,
                head_id=message(count).id if count else None,
                message_count=count,
            )
            stored = await restore(user, record, map(message, range(1, count + 1)), IdSource())
            made = stored.id
        return made

    return server.run(store())


def show_all(visit: PageVisit, count: int) -> None:
    """Scroll up until all messages are shown."""
    page = visit.page
    page.mouse.move(600, 400)
    while page.evaluate("() => document.querySelectorAll('article').length") < count:
        page.mouse.wheel(0, -20_000)


def test_a_long_conversation_is_shown_in_order(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """However its parts come; a link to an old message opens there, and the questions are listed."""
    key = signed_in()
    place = fill(visit, key, 1, 250)
    (first,) = visit.server.connect(key).get(f"/v1/conversations/{place}/messages?limit=1").json()["data"]
    page = visit.page
    visit.open(f"?c={place}")
    page.wait_for_selector("text=Question number 249")
    show_all(visit, 250)
    page.wait_for_selector(".text:empty", state="detached")
    assert page.evaluate(ENDS) == [str(number) for number in range(1, 251)]
    links = page.locator(".asked a").all_text_contents()
    assert links == [f"Question number {number}" for number in range(1, 251, 2)]
    page.evaluate("() => localStorage.clear()")
    visit.open(f"?c={place}&m={first['id']}")
    page.wait_for_function("() => document.querySelectorAll('article').length === 250")
    page.wait_for_function("() => document.querySelector('article').getBoundingClientRect().bottom > 0")
    visit.ask("One more")
    page.wait_for_selector("article.newest >> text=One more")


def test_the_place_in_a_long_conversation_is_kept(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """After a look at another page, and after a reload, the message that was read is where it was."""
    place = fill(visit, signed_in(), 1, 250)
    page = visit.page
    visit.open(f"?c={place}")
    page.wait_for_selector("text=Question number 249")
    show_all(visit, 250)
    page.wait_for_selector(".text:empty", state="detached")
    page.evaluate(MOVED)
    read = page.evaluate(READ)
    page.click(".side a >> text=Search")
    page.wait_for_selector("article", state="detached")
    page.go_back()
    page.wait_for_function(IS_THERE, arg=read)
    page.reload()
    page.wait_for_function(IS_THERE, arg=read)
    assert page.text_content(".asked a[aria-current]") == "Question number 101"


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_ten_thousand_conversations_scroll(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """To the end of the list, with no long task."""
    fill(visit, signed_in(), 10_000)
    page = visit.page
    with traced(page) as work:
        visit.open()
        page.wait_for_selector(".side nav li")
        while page.evaluate(DOWN) < 10_000:
            pass
    print(f"list: {work.longest:.1f} ms")
    assert work.longest < LONG_TASK_MS


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_five_thousand_messages_scroll(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """To the beginning of the conversation and back, with no long task."""
    place = fill(visit, signed_in(), 1, 5000)
    page = visit.page
    with traced(page) as work:
        visit.open(f"?c={place}")
        page.wait_for_selector("article")
        show_all(visit, 5000)
        page.keyboard.press("End")
        while not page.evaluate(AT_END):
            pass
    print(f"conversation: {work.longest:.1f} ms")
    assert work.longest < LONG_TASK_MS


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_a_question_after_four_thousand_messages(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """It is typed, sent and answered with no long task. (The server takes prompts of 4096 messages.)"""
    place = fill(visit, signed_in(), 1, 4000)
    page = visit.page
    visit.open(f"?c={place}")
    page.wait_for_selector("article")
    show_all(visit, 4000)
    page.focus(FIELD)
    with traced(page) as work:
        page.keyboard.type("One more")
        page.keyboard.press("Enter")
        while not page.evaluate(ANSWERED):
            pass
    print(f"question: {work.longest:.1f} ms")
    assert work.longest < LONG_TASK_MS


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_ten_thousand_answers_leave_nothing(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """The memory after the events of ten thousand answers is that after a thousand."""
    client = visit.server.connect(signed_in())
    asked = {"model": "echo", "input": TEXT.format(n=1), "background": True}
    answer = client.post("/v1/responses", json=asked).json()["id"].replace("resp_", "msg_")
    page, memory = visit.page, Memory(visit.page)
    page.evaluate(REPLAY, [answer, 1000])
    before = memory.take()
    page.evaluate(REPLAY, [answer, 9000])
    after = memory.take()
    print(f"memory: {before} to {after}")
    assert after[0] < before[0] + 1_000_000
    assert after[1] < before[1] + 200
    assert after[2] < before[2] + 200
