"""What `jan chat` says where no answer comes: each failure has a hint of its own."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from support.certificates import write_certificate
from support.chat_command import chat
from support.patience import serving
from support.server import ServerProcess


@pytest.fixture(scope="module")
def api(echo_server: ServerProcess) -> str:
    return f"{echo_server.url}/api/v1"


@pytest.fixture(scope="module")
def key(echo_server: ServerProcess) -> str:
    return echo_server.admin_key


def failure(ran: Result, url: str) -> dict[str, Any]:
    """The error of a run with --json."""
    assert (ran.stdout, ran.exit_code) == ("", 1), ran.stderr
    assert ran.stderr.count("\n") == 1
    error: dict[str, Any] = json.loads(ran.stderr)["error"]
    assert set(error) == {"message", "hint", "code", "status"}
    return error


@pytest.mark.parametrize(
    ("url", "code", "hint"),
    [
        # Where nothing listens on any machine: the port of a protocol that has died out.
        ("http://127.0.0.1:9/api/v1", "no_server", "Start one with `"),
        ("http://nothing.invalid/api/v1", "unknown_host", "Check --url."),
        ("ftp://127.0.0.1/api/v1", "wrong_url", "Use one like http://127.0.0.1:8080/api/v1."),
        ("localhost:8080", "wrong_url", "Use one like http://127.0.0.1:8080/api/v1."),
        ("http://127.0.0.1:99999/api/v1", "wrong_url", "Use one like http://127.0.0.1:8080/api/v1."),
        ("http://127.0.0.1/a b", "wrong_url", "Use one like http://127.0.0.1:8080/api/v1."),
    ],
)
def test_a_url_without_a_server_is_one_clear_line(url: str, code: str, hint: str) -> None:
    """Exit code 1 and one line with what is wrong and what to do; with --json as JSON."""
    error = failure(chat(url, "--json"), url)
    assert error["code"] == code
    assert error["hint"].startswith(hint)
    plain = chat(url)
    assert plain.stderr == f"jan: {error['message']} {error['hint']}\n"


def test_a_password_in_a_url_is_not_repeated() -> None:
    """Credentials belong elsewhere, and errors go to logs."""
    ran = chat("http://ada:secret@127.0.0.1:9/api/v1")
    assert "Give the API key by JAN_API_KEY" in ran.stderr
    assert "secret" not in ran.stderr


@pytest.mark.parametrize("path", ["", "/", "/v2", "/api/v1/models/x"])
def test_a_url_without_the_api_s_path_is_told_with_the_right_one(echo_server: ServerProcess, path: str) -> None:
    url = echo_server.url + path
    ran = chat(url)
    assert (ran.stdout, ran.exit_code) == ("", 1)
    assert f"There is no API at {url.rstrip('/')}. Try --url {echo_server.url}/api/v1.\n" in ran.stderr


def test_an_unknown_model_is_refused_with_those_there_are(api: str) -> None:
    """The nearest name is suggested, and models that do not chat are left out."""
    error = failure(chat(api, "--json", "--model", "jan-v1-4"), api)
    assert error["message"] == "The server has no model 'jan-v1-4'; available: echo, jan-v1-4b, slow."
    assert (error["hint"], error["code"]) == ("Did you mean 'jan-v1-4b'?", "model_not_found")


@pytest.mark.parametrize("arguments", [[], ["--list"]])
def test_a_wrong_key_says_where_it_comes_from(api: str, arguments: list[str]) -> None:
    """The hint names the variable and how a key is made. The key itself is nowhere."""
    wrong = "jan_" + "w" * 40
    error = failure(chat(api, "--json", *arguments, key=wrong), api)
    assert error["status"] == 401
    assert error["hint"].startswith("Check JAN_API_KEY. An administrator makes one with `")
    assert wrong not in str(error)


def test_a_key_comes_from_a_file(api: str, key: str, tmp_path: Path) -> None:
    """The option names a file, so that the key is in no history and no list of processes."""
    file = tmp_path / "key"
    file.write_text(f"{key}\n")
    assert json.loads(chat(api, "--json", "--api-key-file", str(file)).stdout)["conversation_id"]
    missing = failure(chat(api, "--json", "--api-key-file", str(tmp_path / "none")), api)
    assert "can't be read" in missing["message"]
    assert failure(chat(api, "--json", key="käse\N{SNOWMAN}"), api)["code"] == "bad_key"


class Answers(BaseHTTPRequestHandler):
    """A server that answers every list of models, and every chat, alike. Set the class's own fields."""

    models: tuple[int, str, bytes] = (200, "application/json", b'{"data": [{"id": "scripted"}]}')
    chats: tuple[int, str, bytes] = (200, "text/event-stream", b"")

    def do_GET(self) -> None:
        self._send(*self.models)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._send(*self.chats)

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if 300 <= status < 400:
            self.send_header("Location", body.decode())
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def scripted(**answers: tuple[int, str, bytes]) -> Iterator[str]:
    """Such a server; its base URL."""
    with serving(type("Scripted", (Answers,), answers)) as url:
        yield f"{url}/v1"


PAGE = b"<!DOCTYPE html><html><head><title>502\n Bad Gateway</title></head></html>"


@pytest.mark.parametrize(
    ("answer", "code", "words", "hint"),
    [
        ((502, "text/html", PAGE), "web_page", "(status 502, '502 Bad Gateway')", "the server behind it runs"),
        ((404, "text/html", PAGE), "web_page", "(status 404", "check --url"),
        ((200, "text/html; charset=utf-8", PAGE), "web_page", "(status 200", "Try --url http://127.0.0.1:"),
        ((200, "text/plain", PAGE), "web_page", "(status 200", "Try --url http://127.0.0.1:"),
        ((200, "application/json", b'{"data": 3}'), "no_api", "There is no API", "Try --url http://127.0.0.1:"),
        ((200, "application/json", b'{"data": []}'), "no_model", "no model that chats", "Add one"),
        ((301, "text/html", b"https://x.example/v1/models"), "moved", "to https://x.example/v1.", "Use that"),
        ((401, "application/json", b"{}"), "unauthorized", "wants an API key", "Set JAN_API_KEY or"),
        ((418, "application/json", b"[]"), "refused", "The server answered 418 I'm a Teapot.", None),
    ],
    ids=lambda one: str(one[0]) if isinstance(one, tuple) else None,
)
def test_what_is_no_api_is_told_by_what_it_answers(
    answer: tuple[int, str, bytes], code: str, words: str, hint: str | None
) -> None:
    """A proxy's page, another program's JSON and a redirect: each has its own hint."""
    with scripted(models=answer) as url:
        error = failure(chat(url, "--json"), url)
    assert error["code"] == code
    assert words in error["message"]
    assert (hint in error["hint"]) if hint else error["hint"] is None


LUCKLESS = b'data: {"error": {"message": "No luck."}}\n\n'
PIECE = b'data: {"choices": [{"delta": {"content": "half"}}]}\n\n'


@pytest.mark.parametrize(
    ("answer", "shown", "words"),
    [
        ((200, "text/event-stream", PIECE), "half\n", "The answer was cut off."),
        (
            (200, "text/event-stream", PIECE + LUCKLESS),
            "half\n",
            "No luck.",
        ),
        ((200, "text/event-stream", PIECE + b"data: {]\n\n"), "half\n", "an event that is not understood"),
        ((500, "text/html", b"<html>oops"), "", "answered with a web page (status 500)"),
        ((503, "application/json", b'{"error": {"message": "Busy.", "code": "overloaded"}}'), "", "Busy."),
        ((503, "application/json", b'{"error": "Flat."}'), "", "Flat."),
        (
            (400, "application/json", b'{"error": {"message": "No.\\n\\u001b[2Jjan: Done."}}'),
            "",
            "No.\ufffd\ufffd[2Jjan",
        ),
    ],
)
def test_an_answer_that_fails_says_so(answer: tuple[int, str, bytes], shown: str, words: str) -> None:
    """The text so far is shown, the reason is one line on standard error, and a program sees exit code 1."""
    with scripted(chats=answer) as url:
        ran = chat(url)
    assert (ran.stdout, ran.exit_code) == (shown, 1)
    assert words in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A server with a certificate of its own for 127.0.0.1; its port, and the certificate."""
    folder = tmp_path_factory.mktemp("tls")
    write_certificate(folder, "jan.example")
    body = b'data: {"choices": [{"delta": {"content": "safe"}}]}\n\ndata: [DONE]\n\n'
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Safe", (Answers,), {"chats": (200, "text/plain", body)}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server.server_port, folder / "server.pem"
    server.shutdown()
    server.server_close()


def test_an_untrusted_certificate_says_how_to_trust_it(https: tuple[int, Path]) -> None:
    """With --ca the same server answers."""
    port, certificate = https
    url = f"https://127.0.0.1:{port}/v1"
    error = failure(chat(url, "--json"), url)
    assert error["code"] == "untrusted_certificate"
    assert "--ca FILE or SSL_CERT_FILE" in error["hint"]
    assert chat(url, "--ca", str(certificate)).stdout == "safe\n"


def test_a_certificate_of_another_host_says_to_use_its_name(https: tuple[int, Path]) -> None:
    port, certificate = https
    url = f"https://localhost:{port}/v1"
    error = failure(chat(url, "--json", "--ca", str(certificate)), url)
    assert (error["code"], error["hint"]) == (
        "untrusted_certificate",
        "Use the host name that the certificate is for in --url.",
    )


def test_a_file_without_certificates_is_refused(https: tuple[int, Path], tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for file in ("empty.pem", "missing.pem"):
        url = f"https://127.0.0.1:{https[0]}/v1"
        error = failure(chat(url, "--json", "--ca", str(tmp_path / file)), url)
        assert (error["code"], error["hint"]) == ("bad_certificates", "Name a PEM file with --ca.")


def test_the_wrong_protocol_is_told(https: tuple[int, Path]) -> None:
    """http:// for a server of HTTPS, and the reverse."""
    url = f"http://127.0.0.1:{https[0]}/v1"
    error = failure(chat(url, "--json"), url)
    assert (error["code"], "https://" in error["hint"]) == ("connection_lost", True)
    with scripted() as plain:
        secure = plain.replace("http:", "https:")
        error = failure(chat(secure, "--json"), secure)
    assert (error["code"], "http://" in error["hint"]) == ("no_https", True)
