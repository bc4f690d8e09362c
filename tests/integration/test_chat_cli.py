"""`jan chat`, driven as a person drives it (through a terminal) and as a program does (through pipes)."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from types import TracebackType

import httpx
import pytest
from support.patience import kill, serving, until
from support.server import EMBEDDER, ServerProcess

# Makes the terminal the process's own, so that a typed Ctrl-C is a SIGINT, and becomes the chat.
_LAUNCH = "import os, sys; os.close(os.open(os.ttyname(0), os.O_RDWR)); os.execv(sys.executable, sys.argv[1:])"
_PATIENCE_SECONDS = 60
CTRL_C, CTRL_D = "\x03", "\x04"


def _command(url: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "jan", "chat", "--url", url, *arguments]


def _pipe(url: str, *arguments: str, typed: str | bytes = "") -> "subprocess.CompletedProcess[str]":
    data = typed.encode() if isinstance(typed, str) else typed
    ran = subprocess.run(
        _command(url, *arguments), input=data, capture_output=True, timeout=_PATIENCE_SECONDS, check=False
    )
    return subprocess.CompletedProcess(ran.args, ran.returncode, ran.stdout.decode(), ran.stderr.decode())


class Terminal:
    """A chat on a terminal of its own."""

    def __init__(self, url: str, *arguments: str) -> None:
        self._screen, own = pty.openpty()
        # Wide, so that what is typed is echoed as it is.
        fcntl.ioctl(own, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 4000, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, *_command(url, *arguments)],
            stdin=own,
            stdout=own,
            stderr=own,
            start_new_session=True,
            env={**os.environ, "TERM": "dumb"},
        )
        os.close(own)
        self._unread = ""

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        kill(self._process)
        os.close(self._screen)

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def expect(self, pattern: str) -> str:
        """Read on until the pattern is on the screen; returns what it matched."""
        found = self.sees(pattern, _PATIENCE_SECONDS)
        assert found is not None, f"no {pattern!r} in {self._unread!r}"
        return found

    def sees(self, pattern: str, seconds: float) -> str | None:
        """Return the text that the pattern matches within this time, if any."""
        deadline = time.monotonic() + seconds
        while (found := re.search(pattern, self._unread)) is None:
            readable, _, _ = select.select([self._screen], [], [], max(0, deadline - time.monotonic()))
            if not readable:
                return None
            self._unread += self._read()
        self._unread = self._unread[found.end() :]
        return found[0]

    def insist(self, key: str, pattern: str) -> None:
        """Press a key until the pattern shows, as a person does: a Ctrl-C that comes while Python's readline
        handles another key is noticed only with the next one."""
        for _ in range(10):
            self.type(key)
            if self.sees(pattern, 2) is not None:
                return
        raise AssertionError(f"no {pattern!r} in {self._unread!r}")

    def _read(self) -> str:
        try:
            return os.read(self._screen, 65536).decode()
        except OSError:  # the process closed its end
            raise AssertionError(f"the chat ended; unread: {self._unread!r}") from None

    def wait(self) -> int:
        return self._process.wait(_PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def api(echo_server: ServerProcess) -> str:
    return f"{echo_server.url}/api/v1"


def test_a_person_talks_with_a_model(api: str) -> None:
    """The model's name and the keys are shown; a question gets its answer, then it is the person's turn
    again; /exit leaves with code 0."""
    with Terminal(api) as terminal:
        terminal.expect(r"Talking with echo\.\r\n.*/new.*/exit.*Ctrl-C")
        terminal.expect("> $")
        terminal.type("How are you?\r")
        terminal.expect(r"How are you\?\r\nHow are you\?\r\n\r\n> $")
        terminal.type("Fine\r")
        terminal.expect(r"Fine\r\nFine\r\n\r\n> $")
        terminal.type("/exit\r")
        assert terminal.wait() == 0


def test_an_answer_is_shown_while_it_is_made(api: str) -> None:
    """The first words of a long answer are on the screen before its last ones are said."""
    words = [f"w{number}" for number in range(150)]
    with Terminal(api, "--model", "slow") as terminal:
        terminal.expect("> $")
        terminal.type(" ".join(words) + "\r")
        terminal.expect(r"w149\r\nw0 w1 ")
        assert terminal.expect(r"w2 ") == "w2 "
        terminal.expect(r"w148 w149\r\n\r\n> $")


def test_ctrl_c_stops_an_answer_and_the_chat_goes_on(api: str, echo: httpx.Client) -> None:
    """Ctrl-C in the middle of an answer ends it on the screen and on the server; the next question is
    answered as if nothing had been."""

    def cancelled() -> float:
        found = re.search(r'jan_engine_cancelled_total\{model="slow"\} (\S+)', echo.get("/metrics").text)
        assert found is not None
        return float(found[1])

    before = cancelled()
    with Terminal(api, "--model", "slow") as terminal:
        terminal.expect("> $")
        terminal.type(" ".join(f"w{number}" for number in range(400)) + "\r")
        terminal.expect(r"w399\r\nw0 w1 ")
        terminal.type(CTRL_C)
        terminal.expect(r"\(stopped\)\r\n\r\n> $")
        terminal.type("still there?\r")
        terminal.expect(r"still there\?\r\nstill there\?\r\n\r\n> $")
        terminal.type(CTRL_D)
        assert terminal.wait() == 0
    assert until(lambda: cancelled() == before + 1)


def test_ctrl_c_at_the_prompt_tells_how_to_leave(api: str) -> None:
    """A person who wants to stop and does not know how is told; what was typed so far is forgotten."""
    with Terminal(api) as terminal:
        terminal.expect("> $")
        terminal.type("never mi")
        terminal.expect("never mi")
        terminal.insist(CTRL_C, r"/exit or Ctrl-D leaves\)\r?\n> $")
        terminal.type("hello\r")
        terminal.expect(r"hello\r\nhello\r\n\r\n> $")
        terminal.type(CTRL_D)
        assert terminal.wait() == 0


def test_an_empty_line_asks_nothing(api: str) -> None:
    """Enter alone gives the prompt again."""
    with Terminal(api) as terminal:
        terminal.expect("> $")
        terminal.type("\r")
        terminal.expect(r"\r\n\r\n> $")


def test_a_program_gets_the_answers_alone(api: str) -> None:
    """Through pipes there is no greeting and no prompt: an answer a line; the end of input is exit code 0."""
    ran = _pipe(api, typed="one two\nthree\n")
    assert (ran.stdout, ran.stderr, ran.returncode) == ("one two\nthree\n", "", 0)


def test_exit_ends_before_the_end_of_the_input(api: str) -> None:
    """Nothing after /exit is asked."""
    ran = _pipe(api, typed="one\n/exit\ntwo\n")
    assert (ran.stdout, ran.returncode) == ("one\n", 0)


def test_no_input_is_no_question(api: str) -> None:
    """An empty input is exit code 0 and no answer."""
    ran = _pipe(api)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("", "", 0)


def test_the_conversation_is_remembered_until_new(echo_server: ServerProcess, api: str) -> None:
    """Each question is sent with what was said before and the system's instructions; after /new with the
    instructions alone. (The prompts' lengths tell.)"""
    before = len(_prompt_lengths(echo_server))
    _pipe(api, "--system", "sys", typed="a b\nc d\n/new\ne f\n")
    assert until(lambda: len(_prompt_lengths(echo_server)) >= before + 3)
    first, second, third = _prompt_lengths(echo_server)[before:]
    assert first == third
    assert second > first + 2


def _prompt_lengths(server: ServerProcess) -> list[int]:
    lines = [line for line in server.log if line.get("route") == "chat.completions"]
    return [line["prompt_tokens"] for line in lines if "prompt_tokens" in line]


def test_the_models_text_can_t_steer_the_terminal(api: str) -> None:
    """Escape sequences in an answer are shown as replacement characters, not obeyed."""
    ran = _pipe(api, typed="\x1b[31mred\x07 \u009bx\tend\n")
    assert ran.stdout == "\ufffd[31mred\ufffd \ufffdx\tend\n"


def test_input_that_is_no_text_is_still_asked(api: str) -> None:
    """Bytes that are no UTF-8 become replacement characters, not a traceback."""
    ran = _pipe(api, typed=b"caf\xe9\n")
    assert (ran.stdout, ran.returncode) == ("caf\ufffd\n", 0)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        # Where nothing listens on any machine: the port of a protocol that has died out.
        ("http://127.0.0.1:9/api/v1", "Start one with `jan serve`"),
        ("ftp://127.0.0.1/api/v1", "is not the URL of a server"),
        ("localhost:8080", "is not the URL of a server"),
        ("http://127.0.0.1:99999/api/v1", "Port out of range"),
    ],
)
def test_no_server_is_one_clear_line(url: str, words: str) -> None:
    """Exit code 1 and one line with the URL and what to do."""
    ran = _pipe(url, typed="hello\n")
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr.startswith("jan: ")
    assert ran.stderr.count("\n") == 1
    assert url in ran.stderr
    assert words in ran.stderr


def test_a_url_without_the_api_s_path_is_refused(echo_server: ServerProcess) -> None:
    """Exit code 1 and one line that says what is missing."""
    ran = _pipe(echo_server.url, typed="hello\n")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == f"jan: There is no API at {echo_server.url}. Its base URL ends in /api/v1 as a rule.\n"


def test_an_unknown_model_is_refused_with_those_there_are(api: str) -> None:
    """Exit code 1 and one line naming the models, before anything is asked."""
    ran = _pipe(api, "--model", "gpt-9", typed="hello\n")
    assert ran.returncode == 1
    assert ran.stderr == f"jan: The server has no model 'gpt-9'; available: echo, jan-v1-4b, slow, {EMBEDDER}.\n"


def test_a_conversation_that_is_too_long_says_what_to_do(api: str) -> None:
    """The server's reason is shown with the way out, the question is forgotten, and the chat goes on."""
    ran = _pipe(api, typed=f"{'word ' * 5000}\nshort\n")
    assert "Type /new to start over." in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == "short\n"


MODELS = b'{"data": [{"id": "scripted"}]}'


@contextmanager
def _scripted(status: int, body: bytes) -> Iterator[str]:
    """A server that answers every chat alike; its base URL."""

    class Scripted(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(200, MODELS)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._send(status, body)

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Scripted) as url:
        yield f"{url}/v1"


PIECE = b'data: {"choices": [{"delta": {"content": "half"}}]}\n\n'


@pytest.mark.parametrize(
    ("status", "body", "shown", "words"),
    [
        (200, PIECE, "half", "The answer was cut off"),
        (200, PIECE + b'data: {"error": {"message": "out of luck"}}\n\n', "half", "out of luck"),
        (500, b"<html>oops", "", "The server answered 500 Internal Server Error."),
        (503, b'{"error": {"message": "too busy", "code": "overloaded"}}', "", "too busy"),
    ],
)
def test_an_answer_that_fails_says_so(status: int, body: bytes, shown: str, words: str) -> None:
    """The text so far is shown, the reason is one line on standard error, and a program sees exit code 1."""
    with _scripted(status, body) as url:
        ran = _pipe(url, typed="hello\n")
    assert ran.stdout.strip() == shown
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.returncode == 1


def test_the_banner_tells_the_command_that_finds_the_server(echo_server: ServerProcess) -> None:
    """On a port other than the default the URL is part of what to type. The key is shown with its owner."""
    assert "jan key add admin@localhost --name NAME\n" in echo_server.banner
    assert f" chat --url {echo_server.url}/api/v1\n" in echo_server.banner
