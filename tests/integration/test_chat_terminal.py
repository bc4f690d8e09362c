"""`jan chat` as a person uses it: on a terminal, where what is typed, pasted and answered shares one screen."""

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from support.breakable_line import breakable_line
from support.chat_terminal import ALT_ENTER, CTRL_C, CTRL_D, ENTER, PROMPT, ChatTerminal, pasted
from support.metrics import value
from support.patience import until

from jan.testing import ThreadServer, served

CONFIGURATION = """
server: {keepalive_seconds: 0.1}
models:
  - {id: echo, engine: echo}
  - {id: slow, engine: echo, options: {step_seconds: 0.02}}
  - {id: narrow, engine: echo, options: {step_seconds: 0.02, slots: 1}}
  - {id: thinker, engine: echo, options: {tool_format: hermes, reasoning: auto}}
  - {id: short, engine: echo, options: {context: 300}}
"""
MANY_WORDS = " ".join(f"w{number}" for number in range(200))


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    with served(CONFIGURATION) as server:
        yield server
        assert server.errors == []


@pytest.fixture(scope="module")
def api(server: ThreadServer) -> str:
    return f"{server.url}/api/v1"


def saved(terminal: ChatTerminal, file: Path) -> list[str]:
    """What was said so far, by what /save writes."""
    terminal.ask(f"/save {file}")
    terminal.expect(r"Saved \d+ messages")
    return [message["content"] for message in json.loads(file.read_text())["messages"]]


def test_a_person_talks_with_a_model(api: str, tmp_path: Path) -> None:
    """A line, a pasted text of several lines, several typed lines and a text in quotes: each is one message."""
    with ChatTerminal(api, environ={"HOME": str(tmp_path)}) as terminal:
        terminal.expect(r"Talking with echo\. Nothing is kept\.\r\n.*/help.*/exit or Ctrl-D leaves")
        terminal.ask("How are you?")
        terminal.expect(r"How are you\?\r\n\r\n")
        terminal.expect(PROMPT)
        terminal.type(pasted("def f():\r    return 1\r\rf()\r"))
        terminal.type(ENTER)
        terminal.expect(r"def f\(\):\r\n    return 1\r\n\r\nf\(\)\r\n\r\n")
        terminal.expect(PROMPT)
        terminal.type(f"one{ALT_ENTER}two{ENTER}")
        terminal.expect(r"one\r\ntwo\r\n\r\n")
        terminal.expect(PROMPT)
        terminal.type(f'"""three{ENTER}{ENTER}four"""{ENTER}')
        terminal.expect(r"three\r\n\r\nfour\r\n\r\n")
        terminal.ask("//etc is full")
        terminal.expect(r"/etc is full\r\n\r\n")
        asked = ["How are you?", "def f():\n    return 1\n\nf()", "one\ntwo", "three\n\nfour", "/etc is full"]
        assert saved(terminal, tmp_path / "said.json") == [text for text in asked for _ in range(2)]
        terminal.ask("/exit")
        assert terminal.wait() == 0
    # Nothing that was typed is written anywhere else.
    assert [file.name for file in tmp_path.iterdir()] == ["said.json"]
    assert stat.S_IMODE((tmp_path / "said.json").stat().st_mode) == 0o600


def test_commands_are_told_and_help(api: str, tmp_path: Path) -> None:
    """An unknown command goes to no model. What a command cannot do is said, and the chat goes on."""
    with ChatTerminal(api) as terminal:
        terminal.ask("/exti")
        terminal.expect(r"jan: There is no command /exti\. Did you mean '/exit'\? /help lists all\.\r\n")
        terminal.ask("/help")
        for name in ("help", "model", "system", "retry", "save", "conversations", "new", "exit"):
            terminal.expect(rf"/{name}\b")
        terminal.ask("/retry")
        terminal.expect(r"no question to ask again")
        terminal.ask("/save")
        terminal.expect(r"needs the name of a file")
        terminal.ask(f"/save {tmp_path}/x.md")
        terminal.expect(r"Nothing was said")
        terminal.ask("/conversations")
        terminal.expect(r"keeps no conversations of yours\. Set JAN_API_KEY")
        terminal.ask("/model")
        terminal.expect(
            r"\* echo     context of 4096 tokens, tools, loaded\r\n  slow     context of .*\r\n  narrow .*\r\n"
            r"  thinker  context of 4096 tokens, tools, reasoning, loaded\r\n  short    context of 300 tokens, "
        )
        terminal.ask("/model slo")
        terminal.expect(r"no model 'slo'.*Did you mean 'slow'\?")
        terminal.ask("/model slow")
        terminal.expect(r"Talking with slow\.")
        terminal.ask("/system Be brief.")
        terminal.expect(r"The instructions are set\.")
        terminal.ask("hello")
        terminal.expect(r"hello\r\n")
        assert saved(terminal, tmp_path / "said.json") == ["Be brief.", "hello", "hello"]
        terminal.ask(f"/save {tmp_path}/said.json")
        terminal.expect(r"said\.json can't be written: File exists\. Name another file\.")
        terminal.ask(f"/save {tmp_path}/said.md")
        terminal.expect(r"Saved 3 messages")
        assert (tmp_path / "said.md").read_text() == (
            "## System\n\nBe brief.\n\n## User\n\nhello\n\n## Assistant\n\nhello\n"
        )
        terminal.ask("/system off")
        terminal.expect(r"A new conversation, because instructions come first\.")
        terminal.ask("/system")
        terminal.expect(r"There are no instructions\.")
        terminal.ask("")
        terminal.expect(PROMPT)
        terminal.type(CTRL_D)
        assert terminal.wait() == 0


def test_ctrl_c_stops_an_answer_at_the_server_and_the_chat_goes_on(
    api: str, server: ThreadServer, tmp_path: Path
) -> None:
    """What was shown by then is kept. /retry takes its place. At the prompt Ctrl-C tells how to leave."""

    def cancelled() -> float:
        return value(server.client, "jan_engine_cancelled_total", model="slow")

    before = cancelled()
    with ChatTerminal(api, "--model", "slow") as terminal:
        terminal.ask(MANY_WORDS)
        terminal.expect(r"\rw0 w1 ")
        terminal.type(CTRL_C)
        terminal.expect(r"\(stopped\)\r\n\r\n")
        assert until(lambda: cancelled() == before + 1)
        terminal.ask("/retry")
        terminal.expect(r"\rw0 w1 w2 w3 w4 w5 ")
        terminal.type(CTRL_C)
        terminal.expect(r"\(stopped\)\r\n\r\n")
        question, answer = saved(terminal, tmp_path / "said.json")
        assert (question, answer.startswith("w0 w1 w2 w3 w4 w5")) == (MANY_WORDS, True)
        few = " ".join(f"v{number}" for number in range(60))
        terminal.ask(few)
        terminal.expect(r"\rv0 (?=v1 )")
        terminal.type(f"typed meanwhile{ENTER}")
        # On a busy machine it may be typed when the prompt is there again.
        terminal.expect(few.removeprefix("v0 ") + r"\r\n\r\n(>\x08)?(> )?typed meanwhile")
        terminal.expect(r"\rtyped meanwhile\r\n\r\n")
        terminal.expect(PROMPT)
        terminal.type("never mi")
        terminal.expect("never mi")
        terminal.type(CTRL_C)
        terminal.expect(r"\(/exit or Ctrl-D leaves\.\)\r\n\r\n")
        terminal.ask("still there?")
        terminal.expect(r"still there\?\r\n\r\n")
        terminal.expect(PROMPT)
        terminal.type(CTRL_D)
        assert terminal.wait() == 0


def test_an_answer_goes_on_after_a_connection_that_breaks(server: ThreadServer, tmp_path: Path) -> None:
    """As often as it breaks, without gaps or doubles. Ctrl-C still stops it at the server."""
    key = tmp_path / "key"
    key.write_text(server.add_user())
    environ = {"JAN_API_KEY_FILE": str(key)}
    with breakable_line(urlsplit(server.url).port or 0) as line:
        url = f"http://127.0.0.1:{line.port}/api/v1"
        with ChatTerminal(url, "--model", "slow", environ=environ) as terminal:
            terminal.ask(MANY_WORDS)
            terminal.expect(r"\rw0 w1 ")
            line.break_off()
            terminal.expect(r"\r\n\(The connection broke\. Trying to go on \.\.\.\)\r\nw\d+ ")
            line.break_off()
            terminal.expect(r"w199\r\n")
            assert saved(terminal, tmp_path / "said.json") == [MANY_WORDS, MANY_WORDS]
            terminal.ask("/retry")
            terminal.expect(r"\rw0 w1 ")
            line.break_off()
            terminal.expect(r"Trying to go on \.\.\.\)\r\nw\d+ ")
            terminal.type(CTRL_C)
            terminal.expect(r"\(stopped\)\r\n\r\n")
    client = server.connect(key.read_text())
    [talk] = client.get("/api/v1/conversations").json()["data"]
    nodes = client.get(f"/api/v1/conversations/{talk['id']}/messages").json()["data"]
    assert [(node["role"], node["content"] == MANY_WORDS) for node in nodes[:2]] == [
        ("user", True),
        ("assistant", True),
    ]
    [_, _, stopped] = nodes

    def ended() -> bool:
        answer = client.get(f"/api/v1/responses/{stopped['id'].replace('msg_', 'resp_')}").json()
        return bool(answer["status"] == "cancelled")

    assert until(ended)


@pytest.mark.parametrize("is_stored", [False, True], ids=["not-stored", "stored"])
def test_a_conversation_that_became_too_long_is_cut_or_summed_up(
    server: ThreadServer, api: str, tmp_path: Path, is_stored: bool
) -> None:
    """By a command that the person chooses. What was left out is told, and the question is asked again."""
    environ = {"JAN_API_KEY": server.add_user()} if is_stored else {}
    first, second = (" ".join(f"{letter}{number}" for number in range(110)) for letter in "ab")
    with ChatTerminal(api, "--model", "short", environ=environ) as terminal:
        terminal.ask(first)
        terminal.expect(r"\ra0 [^\r]* a109\r\n")
        terminal.ask("/retry long")
        terminal.expect(r"jan: /retry takes nothing, or short\.")
        terminal.ask(second)
        terminal.expect(r"the prompt is too long\..*/retry short leaves out the oldest messages\. /summary begins")
        terminal.ask("/summary")
        terminal.expect(r"A new conversation, which begins with a summary of the last one\.\r\n")
        terminal.expect(r"\rb0 [^\r]* b109\r\n")
        assert saved(terminal, tmp_path / "said.json") == [second, second]
        terminal.ask(first)
        terminal.expect(r"the prompt is too long\.")
        terminal.ask("/retry short")
        terminal.expect(r"\(The oldest messages were left out: \d\.\)\r\n")
        terminal.expect(r"a0 [^\r]* a\d+ ?\r\n")  # the prompt may leave little room
        terminal.ask("/new")
        terminal.ask("/summary")
        terminal.expect(r"Nothing was said that could be summed up\.")


def test_the_queue_and_the_reasoning_are_shown(api: str, server: ThreadServer) -> None:
    """While others are answered the place in the queue is on the screen, and gone when the answer comes. Reasoning
    is dimmed, or folded to the time that it took."""
    busy = {"model": "narrow", "stream": True, "messages": [{"role": "user", "content": MANY_WORDS}]}
    thought = pasted("<think>\rMaybe so.\r</think>\r\rYes.")
    with ChatTerminal(api, "--model", "narrow") as terminal:
        terminal.expect(PROMPT)
        with httpx.stream("POST", f"{api}/chat/completions", json=busy, timeout=60) as stream:
            lines = stream.iter_lines()
            next(lines)
            terminal.type(f"my turn{ENTER}")
            terminal.expect(r"in the queue: position 1")
        terminal.expect(r"\rmy turn\r\n\r\n")
        terminal.ask("/model thinker")
        terminal.expect(PROMPT)
        terminal.type(thought + ENTER)
        terminal.expect(r"\rMaybe so\.\r\n\r\nYes\.\r\n\r\n")
    assert "".join(re.findall(r"\x1b\[2m([^\x1b]*)\x1b\[0m", terminal.raw)).endswith("Maybe so.")
    with ChatTerminal(api, "--model", "thinker", "--reasoning", "fold") as terminal:
        terminal.expect(PROMPT)
        terminal.type(thought + ENTER)
        terminal.expect(r"thinking, \d s")
        terminal.expect(r"\(Thought for \d s\.\)\r\nYes\.\r\n\r\n")


def test_words_are_wrapped_and_nothing_steers_the_terminal(api: str) -> None:
    """Lines break between words. Control characters of an answer are shown as replacement characters."""
    with ChatTerminal(api, columns=30) as terminal:
        terminal.expect(PROMPT)
        terminal.type(pasted("a sentence of more words than one line of it holds") + ENTER)
        terminal.expect(r"\ra sentence of more words than\r\none line of it holds\r\n\r\n")
        terminal.expect(PROMPT)
        terminal.type(pasted("x\x1b]0;PWNED\x07y\x9b2Jz\u202e") + ENTER)
        terminal.expect("x\ufffd\\]0;PWNED\ufffdy\ufffd2Jz\ufffd\r\n")
    assert "\x1b]0;" not in terminal.raw
    assert "\x9b" not in terminal.raw


def test_conversations_of_users_are_kept_and_continued(api: str, server: ThreadServer, tmp_path: Path) -> None:
    """The server has what was said. Another answer is a branch beside the first. A later chat continues."""
    key = tmp_path / "key"
    key.write_text(server.admin_key)
    environ = {"JAN_API_KEY_FILE": str(key)}
    with ChatTerminal(api, environ=environ) as terminal:
        terminal.expect(r"The server keeps what you say\.")
        terminal.ask("first question")
        terminal.expect(r"first question\r\n")
        terminal.ask("/retry")
        terminal.expect(r"first question\r\n")
        terminal.ask("/new")
        terminal.ask("second question")
        terminal.expect(r"second question\r\n")
        terminal.ask("/conversations")
        terminal.expect(r"\*  1  .*second question\r\n   2  .*first question\r\n")
        terminal.ask("/conversations 2")
        terminal.expect(r"Continuing 'first question'\.\r\n\r\n> first question\r\nfirst question\r\n")
        terminal.ask("third question")
        terminal.expect(r"third question\r\n")
        terminal.expect(PROMPT)
        terminal.type(CTRL_D)
        assert terminal.wait() == 0
    client = server.connect(server.admin_key)
    found = client.get("/api/v1/conversations").json()["data"]
    assert [(one["title"], one["message_count"]) for one in found] == [
        ("first question", 5),
        ("second question", 2),
    ]
    with ChatTerminal(api, "--continue", environ=environ) as terminal:
        terminal.expect(r"Continuing 'first question'\.\r\n\r\n> third question\r\nthird question\r\n")
        said = saved(terminal, tmp_path / "said.json")
        # One whose question has no answer yet.
        items = [{"role": "user", "content": "unanswered question"}]
        made = client.post("/api/v1/conversations", json={"items": items}).json()["id"]
        terminal.ask(f"/conversations {made}")
        terminal.expect(r"Continuing 'unanswered question'\.\r\n\r\n> unanswered question\r\n")
        terminal.ask("/retry")
        terminal.expect(r"\runanswered question\r\n\r\n")
        said += saved(terminal, tmp_path / "more.json")
    asked = ("first question", "third question", "unanswered question")
    assert said == [text for text in asked for _ in range(2)]
    assert client.get(f"/api/v1/conversations/{made}").json()["message_count"] == 2
