"""``jan import``: files, folders and archives, to a server and into a store."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.foreign_exports import MAKERS, session_lines
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
    return CliRunner().invoke(main, ["import", *map(str, arguments)])


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
    monkeypatch.setattr("jan.cli.import_command._SENT_BYTES", 4000)
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
    ("url", "says"),
    [
        ("nowhere", "nowhere is not the URL of a server."),
        ("http://127.0.0.1:1/api/v1", "No answer of 127.0.0.1"),
        ("{server}", "There is no API that imports at http://127.0.0.1"),
    ],
    ids=["no-url", "no-server", "no-api"],
)
def test_a_server_that_is_not_there_is_told(
    server: ThreadServer, key: str, tmp_path: Path, url: str, says: str
) -> None:
    file = written(tmp_path, "claude", 1)
    done = jan_import(file, "--url", url.format(server=server.url), "--api-key", key)
    assert done.exit_code == 1
    assert says in done.stderr
