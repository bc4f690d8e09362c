"""What others chose and the command line prints: it forges no line and steers no terminal."""

import asyncio
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.server import ECHO_CONFIG

from jan.cli.commands import main
from jan.storage import store_from_url
from jan.storage.records import ApiKey, User

FORGED = "x\x1b]0;PWNED\x07\r\nuser_0000  admin  enabled\u202e\u200b\x9b31m\u2028key_fake"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration of a store with names of before, when every character was accepted."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = tmp_path / "jan.yaml"
    file.write_text(f"{ECHO_CONFIG}\ndata: {tmp_path}/data\n")
    jan(file, "user", "add", "ada@example.org")

    async def fill() -> None:
        store = store_from_url(f"sqlite:///{tmp_path}/data/jan.db")
        await store.open()
        user = User(email="bob\x1b[2J@example.org", name=FORGED)
        await store.archive.insert(User, [user])
        ada = await store.users.find_by_email("ada@example.org")
        assert ada is not None
        await store.archive.insert(ApiKey, [ApiKey(user_id=ada.id, name=FORGED, prefix="jan_", hash="h")])
        await store.close()

    asyncio.run(fill())
    return file


def jan(config: Path, group: str, *arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, [group, "--config", str(config), *arguments])
    assert done.exit_code == code, done.output
    return done.stderr if code else done.stdout


def test_a_stored_name_is_one_harmless_field(config: Path) -> None:
    """A list has one line for each user and key, whatever their names and addresses hold."""
    users, keys = jan(config, "user", "list"), jan(config, "key", "list", "ada@example.org")
    assert (users.count("\n"), keys.count("\n")) == (2, 1)
    for printed in (users, keys):
        assert all(character == "\n" or character.isprintable() for character in printed)
        assert (
            "x\ufffd]0;PWNED\ufffd\ufffd\ufffduser_0000  admin  enabled\ufffd\ufffd\ufffd31m\ufffdkey_fake"
            in printed
        )


def test_an_error_steers_no_terminal(config: Path) -> None:
    """What a message repeats of an argument is tamed."""
    assert "no user \ufffd[31mx." in jan(config, "user", "disable", "\x1b[31mx", code=1)


@pytest.mark.parametrize("name", [FORGED, "\x00", "a\n", " ", "a\u200db", "A\udcff"], ids=ascii)
def test_a_name_of_unseen_characters_is_refused(config: Path, name: str) -> None:
    """The command line gives no such names either."""
    for command in (["user", "add", "eve@example.org"], ["key", "add", "ada@example.org"]):
        refused = jan(config, *command, "--name", name, code=2)
        assert "no control, bidirectional or zero-width characters" in " ".join(refused.split())
    assert "eve@example.org" not in jan(config, "user", "list")


def test_everything_is_printed_by_one_function() -> None:
    """Only ``jan.cli.terminal`` calls click.echo or print."""
    folder = Path(main.callback.__code__.co_filename).parent if main.callback else Path()
    files = [file for file in folder.rglob("*.py") if file.name != "terminal.py"]
    assert len(files) > 5
    assert [file.name for file in files if "click.echo" in (text := file.read_text()) or " print(" in text] == []
