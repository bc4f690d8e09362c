"""`jan chat` as a program uses it: standard input is one question, standard output has the answer alone."""

import json
import re
import signal
import subprocess
import sys

import httpx
import pytest
from support.chat_command import chat
from support.patience import SECONDS, until
from support.server import ServerProcess

from jan.cli.chat.chat_client import ChatClient, ChatSampling
from jan.cli.chat.chat_connection import ChatConnection


@pytest.fixture(scope="module")
def api(echo_server: ServerProcess) -> str:
    return f"{echo_server.url}/api/v1"


@pytest.fixture(scope="module")
def key(echo_server: ServerProcess) -> str:
    return echo_server.admin_key


# --- questions and answers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("one two\n", "one two\n"),
        ("def f():\n    return 1\n\n\nprint(f())\n", "def f():\n    return 1\n\n\nprint(f())\n"),
        ("/exit\n", "/exit\n"),
        ("a\r\nb", "a\r\nb\n"),
        # Escape sequences are shown as replacement characters, not obeyed.
        ("\x1b[31mred\x07 \u009bx\tend\n", "\ufffd[31mred\ufffd \ufffdx\tend\n"),
        # No UTF-8.
        (b"caf\xe9\n", "caf\ufffd\n"),
    ],
)
def test_piped_input_is_one_question(api: str, typed: str | bytes, answer: str) -> None:
    """All of standard input is asked at once, and only its answer is printed: no greeting and no prompt."""
    ran = chat(api, typed=typed)
    assert (ran.stdout, ran.stderr, ran.exit_code) == (answer.replace("\r", "\ufffd"), "", 0)


@pytest.mark.parametrize("typed", ["", "\n", " \r\n"])
def test_no_question_is_an_error(api: str, typed: str) -> None:
    """A program that pipes nothing is told, with exit code 1."""
    ran = chat(api, typed=typed)
    assert (ran.stdout, ran.exit_code) == ("", 1)
    assert ran.stderr == "jan: There is no question on standard input. Pipe one into the command.\n"


def test_json_is_one_object(api: str) -> None:
    """The object has the answer and what is known of it. Nobody known asks, so there is no conversation."""
    ran = chat(api, "--json", "--max-tokens", "2", typed="one \x1b two three")
    assert (ran.stderr, ran.exit_code) == ("", 0)
    said = json.loads(ran.stdout)
    assert ran.stdout.count("\n") == 1
    assert said.pop("usage")["completion_tokens"] == 2
    assert said == {
        "answer": "one \x1b ",
        "reasoning": None,
        "model": "echo",
        "finish_reason": "length",
        "conversation_id": None,
    }


def test_instructions_and_sampling_are_sent(api: str) -> None:
    """The prompt has the instructions, and the limit of tokens is said where it cut the answer."""
    plain, instructed = (
        json.loads(chat(api, "--json", *options, typed="a b").stdout)["usage"]["prompt_tokens"]
        for options in ([], ["--system", "two words"])
    )
    assert instructed == plain + 2
    assert "ended at its limit" in chat(api, "--max-tokens", "1", typed="a b c").stderr


def test_a_question_that_is_too_long_says_what_to_do(api: str) -> None:
    """The server's reason is shown with the way out."""
    ran = chat(api, typed="word " * 5000)
    assert (ran.stdout, ran.exit_code) == ("", 1)
    assert "4096" in ran.stderr
    assert "Ask something shorter" in ran.stderr


def test_a_real_process_answers(api: str) -> None:
    """The command works through real pipes, and prompt_toolkit is not imported for it."""
    command = [sys.executable, "-X", "importtime", "-m", "jan", "chat", "--url", api]
    ran = subprocess.run(command, input=b"hello there\n", capture_output=True, timeout=SECONDS, check=False)
    assert (ran.stdout, ran.returncode) == (b"hello there\n", 0)
    assert b"jan.cli.chat" in ran.stderr
    assert b"prompt_toolkit" not in ran.stderr


def test_a_closed_standard_input_is_no_question(api: str) -> None:
    """The message is that of an empty one."""
    command = f'exec "{sys.executable}" -m jan chat --url {api} <&-'
    ran = subprocess.run(["sh", "-c", command], capture_output=True, timeout=SECONDS, check=False)
    assert (ran.stdout, ran.returncode) == (b"", 1)
    assert ran.stderr.startswith(b"jan: There is no question on standard input.")


def test_ctrl_c_stops_the_answer_at_the_server(api: str, echo: httpx.Client) -> None:
    """A program that is interrupted prints what came, stops the model, and ends with code 130."""

    def cancelled() -> float:
        found = re.search(r'jan_engine_cancelled_total\{model="slow"\} (\S+)', echo.get("/metrics").text)
        assert found is not None
        return float(found[1])

    before = cancelled()
    command = [sys.executable, "-m", "jan", "chat", "--url", api, "--model", "slow"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(" ".join(f"w{number}" for number in range(400)).encode())
    process.stdin.close()
    assert process.stdout.read(5) == b"w0 w1"
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait(SECONDS) == 130
    assert b"w399" not in rest
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stdout.close()
    process.stderr.close()
    assert until(lambda: cancelled() == before + 1)


# --- conversations ----------------------------------------------------------------------------------


def test_the_server_keeps_conversations_of_users(api: str, key: str, echo: httpx.Client) -> None:
    """A question of a known user begins a conversation. Others continue it by its id, or as the last one."""
    first = json.loads(chat(api, "--json", "--system", "sys", typed="one two", key=key).stdout)
    talk = first["conversation_id"]
    second = json.loads(chat(api, "--json", "--continue", typed="three", key=key).stdout)
    third = json.loads(chat(api, "--json", "--conversation", talk, typed="four", key=key).stdout)
    assert second["conversation_id"] == third["conversation_id"] == talk
    assert [said["usage"]["prompt_tokens"] for said in (first, second, third)] == [3, 6, 8]
    listed = chat(api, "--list", key=key)
    assert re.match(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d  {talk}  one two\n", listed.stdout)
    [entry, *_] = json.loads(chat(api, "--list", "--json", key=key).stdout)["data"]
    assert (entry["id"], entry["title"], entry["message_count"]) == (talk, "one two", 7)
    chain = echo.get(f"/api/v1/conversations/{talk}", headers={"Authorization": f"Bearer {key}"}).json()[
        "messages"
    ]
    assert [one["parent_id"] for one in chain["data"]] == [None, *(one["id"] for one in chain["data"][:-1])]


def test_nothing_is_kept_of_a_temporary_question_or_a_refused_one(api: str, key: str) -> None:
    """Neither leaves a conversation behind."""
    before = chat(api, "--list", "--json", key=key).stdout
    assert json.loads(chat(api, "--json", "--temporary", key=key).stdout)["conversation_id"] is None
    assert chat(api, typed="word " * 5000, key=key).exit_code == 1
    assert chat(api, "--list", "--json", key=key).stdout == before


def test_a_key_that_may_not_write_keeps_nothing(api: str, key: str, echo: httpx.Client) -> None:
    """The answer comes all the same, and standard error says that nothing is kept."""
    made = echo.post(
        "/api/v1/user/api-keys",
        headers={"Authorization": f"Bearer {key}"},
        json={"name": "reader", "permissions": ["read", "inference"]},
    )
    ran = chat(api, key=made.json()["key"])
    assert (ran.stdout, ran.exit_code) == ("hello\n", 0)
    assert "the key may not write" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--continue"], "keeps no conversations of yours. Set JAN_API_KEY"),
        (["--conversation", "conv_x"], "keeps no conversations of yours. Set JAN_API_KEY"),
        (["--list"], "keeps no conversations of yours. Set JAN_API_KEY"),
    ],
)
def test_somebody_unknown_has_no_conversations(api: str, arguments: list[str], words: str) -> None:
    """The message says what is needed. A word that is no key, as some tools insist on, changes nothing."""
    for key in ("", "ollama"):
        ran = chat(api, *arguments, key=key)
        assert (ran.stdout, ran.exit_code) == ("", 1)
        assert words in ran.stderr


def test_a_long_conversation_is_read_from_its_root(api: str, key: str, echo: httpx.Client) -> None:
    """What is shown and saved of one that is continued are the messages above the last one, of all its pages."""
    first = {"object": "conversation", "id": "c", "title": "Long", "model": None, "metadata": {}, "created_at": 1}
    first |= {"updated_at": 1, "head_id": "m299", "message_count": 300, "version": 2}
    kind = {"object": "conversation.message", "conversation_id": "c", "status": "complete"}
    lines = [
        {
            **kind,
            "id": f"m{number}",
            # Every tenth answer has a sibling that leads nowhere.
            "parent_id": None if number == 0 else f"m{number - (2 if number % 10 == 0 else 1)}",
            "sequence": number + 1,
            "role": "assistant" if number % 2 else "user",
            "items": [{"type": "text", "text": str(number)}],
            "created_at": 1,
            "updated_at": 1,
        }
        for number in range(300)
    ]
    made = echo.post(
        "/api/v1/conversations/import",
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/jsonl"},
        content="\n".join(json.dumps(line) for line in [first, *lines]),
    ).json()
    client = ChatClient(ChatConnection(api, key), ChatSampling())
    found, said = client.conversation(made["id"])
    assert (found.title, found.message_count) == ("Long", 300)
    assert [message.content for message in said] == [
        str(number) for number in range(300) if number % 10 != 9 or number == 299
    ]


@pytest.mark.model
def test_the_real_model_answers(model_server: ServerProcess) -> None:
    """The answer of the bundled model is text, and the server counts it."""
    url = f"{model_server.url}/api/v1"
    said = json.loads(chat(url, "--json", "--max-tokens", "8", typed="Say hello.").stdout)
    assert said["answer"].strip()
    assert said["usage"]["completion_tokens"] <= 8
    assert said["usage"]["prompt_tokens"] > 8
    assert chat(url, "--max-tokens", "8", "--temperature", "0", typed="Say hello.").stdout.strip()


def test_an_unknown_conversation_says_where_they_are_listed(api: str, key: str) -> None:
    """So does an id that is a path."""
    for talk in ("conv_000000000000", "../models"):
        ran = chat(api, "--conversation", talk, key=key)
        assert (ran.stdout, ran.exit_code) == ("", 1)
        assert "chat --list` and /conversations list yours." in ran.stderr


@pytest.mark.parametrize(
    "arguments", [["--continue", "--list"], ["--continue", "--temporary"], ["--continue", "--system", "x"]]
)
def test_options_that_exclude_each_other_are_refused(api: str, arguments: list[str]) -> None:
    assert chat(api, *arguments).exit_code == 2


def test_the_banner_tells_the_command_that_finds_the_server(echo_server: ServerProcess) -> None:
    """On a port other than the default the URL is part of what to type. The key is shown with its owner."""
    assert "jan key add admin@localhost --name NAME\n" in echo_server.banner
    assert f" chat --url {echo_server.url}/api/v1\n" in echo_server.banner
