"""``jan import``: files, folders and archives, to a server and into a store."""

import json
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

import pytest
from click.testing import CliRunner, Result
from support.certificates import write_certificate
from support.chat_terminal import ChatTerminal
from support.foreign_exports import MAKERS, session_lines
from support.patience import serving
from support.server import ECHO_CONFIG

from jan.cli.commands import main
from jan.testing import ThreadServer, served

COUNT = 12


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    settings = "limits: {authenticated: 'off', quota: {conversations: 50}}"
    with served(settings) as found:
        yield found
        assert found.errors == []


@pytest.fixture
def key(server: ThreadServer) -> str:
    """The key of a user of the test's own."""
    return server.add_user()


def jan_import(*arguments: object) -> Result:
    environ = {"JAN_API_KEY": None, "JAN_API_KEY_FILE": None, "SSL_CERT_FILE": None}
    return CliRunner().invoke(main, ["import", *map(str, arguments)], env=environ)


def to(server: ThreadServer, key: str, *arguments: object) -> Result:
    return jan_import(*arguments, "--url", f"{server.url}/api/v1", "--api-key", key)


def written(folder: Path, kind: str, count: int = COUNT) -> Path:
    file = folder / "conversations.json"
    file.write_text(json.dumps([MAKERS[kind](number) for number in range(count)]))
    return file


def test_an_archive_is_imported_once(server: ThreadServer, key: str, tmp_path: Path) -> None:
    """Of a data export only the conversations are read."""
    archive = tmp_path / "export.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        made.write(written(tmp_path, "chatgpt"), "conversations.json")
        made.writestr("user.json", '{"id": "user-1"}')
    first = to(server, key, archive)
    assert first.output == f"{COUNT} of {COUNT} conversations are here, from ChatGPT: {COUNT} new, 0 failed.\n"
    assert first.exit_code == 0
    again = to(server, key, archive, "--from", "chatgpt")
    assert again.output == f"{COUNT} of {COUNT} conversations are here, from ChatGPT: 0 new, 0 failed.\n"
    found = server.connect(key).get("/api/v1/conversations", params={"limit": 100}).json()["data"]
    assert len(found) == COUNT


def test_a_folder_goes_into_a_store(tmp_path: Path) -> None:
    """Files of several applications, below each other."""
    config = tmp_path / "jan.yaml"
    config.write_text(f"{ECHO_CONFIG}\ndata: {tmp_path}/data\n")
    options = ("--user", "ada@example.org", "--config", config)
    folder = tmp_path / "conversations" / "inner"
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / f"{number}.conversation.json").write_text(json.dumps(MAKERS["lm-studio"](number)))
    (folder.parent / "chats.jsonl").write_text("\n".join(map(session_lines, range(4))))
    assert "There is no store" in jan_import(folder.parent, *options).stderr
    made = CliRunner().invoke(main, ["user", "--config", str(config), "add", "bob@example.org"])
    assert made.exit_code == 0
    assert "There is no user ada@example.org." in jan_import(folder.parent, *options).stderr
    assert CliRunner().invoke(main, ["user", "--config", str(config), "add", "ada@example.org"]).exit_code == 0
    done = jan_import(folder.parent, *options)
    assert done.output == "7 of 7 conversations are here, from llama.cpp, LM Studio: 7 new, 0 failed.\n"
    assert jan_import(folder.parent, *options).output.endswith(": 0 new, 0 failed.\n")


def test_what_is_spoilt_is_named_by_its_place_in_the_whole_file(
    server: ThreadServer, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many requests it takes."""
    monkeypatch.setattr("jan.cli.import_sender._SENT_BYTES", 4000)
    file = written(tmp_path, "claude")
    file.write_text(file.read_text().replace("Question 9?", "Question \\ud800?"))
    done = to(server, key, file)
    assert done.exit_code == 1
    assert (
        done.stdout == f"{COUNT - 1} of {COUNT} conversations are here, from Claude: {COUNT - 1} new, 1 failed.\n"
    )
    assert done.stderr.startswith(f"{file}: Left out: conversation 10 of the file: It is not valid JSON: ")


def test_pictures_are_not_sent_and_what_is_still_too_large_is_named(
    server: ThreadServer, key: str, tmp_path: Path
) -> None:
    picture, long = MAKERS["open-webui"](1), MAKERS["open-webui"](2)
    messages = picture["chat"]["history"]["messages"]
    messages["u1"]["files"] = [{"type": "image", "url": "data:image/png;base64," + "QUJD" * 2_000_000}]
    long["chat"]["history"]["messages"]["u1"]["content"] = "word " * 1_000_000
    file = tmp_path / "chats.json"
    file.write_text(json.dumps([picture, long, MAKERS["open-webui"](3)]))
    done = to(server, key, file)
    assert done.stdout == "2 of 3 conversations are here, from Open WebUI: 2 new, 1 failed.\n"
    lines = done.stderr.splitlines()
    assert lines[0].endswith(
        "Talk 1 (22222222-0000-4000-8000-000000000001), message u1: The file 'image' was not imported."
    )
    assert "conversation 2 of the file: It has 5" in lines[1]


def test_a_quota_ends_an_import_and_says_what_was_left(server: ThreadServer, key: str, tmp_path: Path) -> None:
    done = to(server, key, written(tmp_path, "librechat", 60))
    assert done.exit_code == 1
    assert done.stdout == "50 of 60 conversations are here, from LibreChat: 50 new, 0 failed, 10 were not tried.\n"
    assert "The quota of conversations is 50 for this user" in done.stderr


def test_a_bomb_is_refused(server: ThreadServer, key: str, tmp_path: Path) -> None:
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made, made.open("conversations.json", "w") as file:
        for _ in range(100):
            file.write(b" " * (1 << 20))
    done = to(server, key, archive)
    assert done.exit_code == 1
    assert "A file in it becomes 200 times as large as it is packed." in done.stderr


@pytest.mark.parametrize(
    "packed",
    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA],
    ids=["stored", "deflated", "bzip2", "lzma"],
)
def test_a_damaged_archive_is_named(server: ThreadServer, key: str, tmp_path: Path, packed: int) -> None:
    """Also where the damage shows only when its files are unpacked."""
    archive = tmp_path / "damaged.zip"
    with zipfile.ZipFile(archive, "w", packed) as made:
        made.writestr("conversations.json", " ".join(map(str, range(500))))
    content = bytearray(archive.read_bytes())
    for place in range(80, 300):
        content[place] ^= 0x5A
    archive.write_bytes(content)
    done = to(server, key, archive)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"jan: {archive}: The archive can't be read: ")


@pytest.mark.parametrize(
    "content", [b"PK\x05\x06" + bytes(18), b"PK\x03\x04" + bytes(200) + b"PK\x05\x06" + bytes(18)]
)
def test_an_archive_without_conversations_adds_nothing(
    server: ThreadServer, key: str, tmp_path: Path, content: bytes
) -> None:
    archive = tmp_path / "empty.zip"
    archive.write_bytes(content)
    done = to(server, key, archive)
    assert done.stdout == "0 of 0 conversations are here: 0 new, 0 failed.\n"


@pytest.mark.parametrize(
    ("options", "says", "hint"),
    [
        ("--url nowhere", "nowhere is not the URL of a server.", "Use one like"),
        ("--url http://127.0.0.1:1/api/v1", "No server at http://127.0.0.1:1", "name another with --url"),
        ("--url {server}", "There is no API that imports at http://127.0.0.1", "Try --url {server}/api/v1."),
        ("--url {server}/api/v1", "This needs credentials.", "Set JAN_API_KEY or JAN_API_KEY_FILE."),
        ("--url {server}/api/v1 --api-key no", "neither an API key", "Check JAN_API_KEY."),
        ("--api-key-file none", "--api-key-file", "can't be read"),
    ],
    ids=["no-url", "no-server", "no-api", "no-key", "wrong-key", "no-file"],
)
def test_what_is_wrong_with_the_server_or_the_key_is_told(
    server: ThreadServer, tmp_path: Path, options: str, says: str, hint: str
) -> None:
    """As `jan chat` tells it, each with a hint of its own, and without what was imported."""
    file = written(tmp_path, "claude", 1)
    done = jan_import(file, *options.format(server=server.url).split())
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert says in done.stderr
    assert hint.format(server=server.url) in done.stderr


def test_a_certificate_of_ones_own_is_trusted_by_ca(tmp_path: Path) -> None:
    write_certificate(tmp_path, "jan.example")
    tls = f"{{certificate: {tmp_path}/server.pem, key: {tmp_path}/server.key}}"
    with served(f"server: {{tls: {tls}}}") as safe:
        key = tmp_path / "key"
        key.write_text(safe.add_user())
        url = f"{safe.url.replace('http:', 'https:')}/api/v1"
        asked = (written(tmp_path, "claude"), "--url", url, "--api-key-file", key)
        refused = jan_import(*asked)
        assert "is not trusted" in refused.stderr
        assert "--ca FILE or SSL_CERT_FILE" in refused.stderr
        done = jan_import(*asked, "--ca", tmp_path / "server.pem")
        assert done.output == f"{COUNT} of {COUNT} conversations are here, from Claude: {COUNT} new, 0 failed.\n"


def test_the_counts_are_one_line_of_a_terminal(server: ThreadServer, key: str, tmp_path: Path) -> None:
    """However many files there are. What was left out is named on lines of its own."""
    for number in range(4):
        (tmp_path / f"{number}.json").write_text(json.dumps([MAKERS["lm-studio"](number), {"odd": 1}]))
    environ = {"JAN_API_KEY": key}
    with ChatTerminal(f"{server.url}/api/v1", str(tmp_path), command="import", environ=environ) as terminal:
        for number in range(1, 5):
            counts = f"{2 * number} conversations read: {number} new, 0 known, {number} failed"
            terminal.expect(rf"\r{counts}\r *\r+[^\r]*{number - 1}\.json: Left out: [^\r]*\r\n")
        terminal.expect(r"4 of 8 conversations are here, from LM Studio: 4 new, 4 failed\.\r\n")
        assert terminal.wait() == 1


class ServerThatFails(BaseHTTPRequestHandler):
    """Takes requests of 3 kB at most, and is gone after some."""

    taken: ClassVar[int] = 0

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        items = json.loads(self.rfile.read(size))
        type(self).taken += size <= 3000
        report = {"object": "import", "sources": ["claude"], "total": len(items), "imported": len(items)}
        status, answer = (200, json.dumps(report)) if size <= 3000 else (413, "{}")
        if type(self).taken <= 3:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(answer.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_server_that_ends_in_between_leaves_what_it_took(tmp_path: Path) -> None:
    """What it finds too large is sent in halves. The counts are of what it took."""
    with serving(type("Fails", (ServerThatFails,), {})) as url:
        done = jan_import(written(tmp_path, "claude", 8), "--url", url)
    assert done.exit_code == 1
    assert "Lost connection to" in done.stderr
    assert done.stderr.endswith("What is here stays. Run the command again to go on.\n")
    assert done.stdout == "6 of 6 conversations are here, from Claude: 6 new, 0 failed.\n"
