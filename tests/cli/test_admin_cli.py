"""``jan user``, ``jan key`` and ``jan store``, beside a running server and without one."""

import asyncio
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.patience import otherwise
from support.server import ECHO_CONFIG, ServerProcess, http_client

from jan.cli.commands import main
from jan.cli.first_key import hand_over
from jan.people.store_keeper import FIRST_ADMIN
from jan.storage import store_from_url
from jan.storage.records import ApiKey, User


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "jan.yaml"
    file.write_text(f"{ECHO_CONFIG}\ndata: {tmp_path}/data\n")
    return file


@pytest.fixture(autouse=True)
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command adds the working folder to the path of its process, which here is the tests'."""
    monkeypatch.setattr(sys, "path", list(sys.path))


def jan(config: Path, group: str, *arguments: str, code: int = 0) -> str:
    """Run a command in this process; what it printed on standard output, or on standard error if it is to fail."""
    done = CliRunner().invoke(main, [group, "--config", str(config), *arguments])
    assert done.exit_code == code, done.output
    return done.stderr if code else done.stdout


def test_as_a_person_does_it(config: Path) -> None:
    """In processes of their own, commands find what earlier ones did; a mistake is an exit code and a line."""

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        group, *rest = arguments
        command = [sys.executable, "-m", "jan", group, "--config", str(config), *rest]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    made = run("user", "add", "ada@example.org")
    assert (made.returncode, made.stderr) == (0, "")
    assert run("user", "list").stdout.startswith(made.stdout.strip())
    refused = run("key", "add", "nobody@example.org", "--name", "x")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "no user nobody@example.org" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_deleting_a_user_asks_first(config: Path) -> None:
    """A word other than yes changes nothing. The last administrator stays, also with --yes."""
    for address in ("ada@example.org", "bob@example.org"):
        jan(config, "user", "add", address, "--admin")

    def delete(address: str, *options: str, says: str = "") -> Result:
        command = ["user", "--config", str(config), "delete", address, *options]
        return CliRunner().invoke(main, command, input=says)

    for says in ("n\n", ""):
        refused = delete("ada@example.org", says=says)
        assert (refused.exit_code, "ada@example.org and all that is theirs?" in refused.output) == (1, True)
    assert "ada@example.org" in jan(config, "user", "list")
    assert delete("ada@example.org", says="y\n").stdout.endswith("ada@example.org is deleted\n")
    assert "ada@example.org" not in jan(config, "user", "list")
    assert "There is no user ada@example.org" in delete("ada@example.org", "--yes").stderr
    assert "The last administrator can't be deleted." in delete("bob@example.org", "--yes").stderr
    assert "bob@example.org" in jan(config, "user", "list")
    assert "user.deleted" in jan(config, "audit", "list")


def test_options_stand_before_or_after_a_command(config: Path, tmp_path: Path) -> None:
    """``--config`` and ``--data`` after the command's name mean the same, and win if they stand in both places."""
    jan(config, "user", "add", "ada@example.org")
    after = CliRunner().invoke(main, ["user", "list", "--config", str(config)])
    assert "ada@example.org" in after.stdout
    other = jan(config, "user", "list", "--data", str(tmp_path / "other"), code=1)
    assert f"no store in {tmp_path / 'other'}." in other


def test_a_look_up_makes_no_store(config: Path, tmp_path: Path) -> None:
    """Commands that need a user or a key name the data folder where there is none, and make nothing there."""
    for command in (
        ["key", "add", "ada@example.org", "--name", "x"],
        ["user", "list"],
        ["key", "revoke", "key_1"],
    ):
        assert f"There is no store in {tmp_path / 'data'}." in jan(config, *command, code=1)
    assert not (tmp_path / "data").exists()
    named = tmp_path / "named.yaml"
    named.write_text(f"{config.read_text()}storage: {{url: 'sqlite:///{tmp_path}/elsewhere/jan.db'}}\n")
    assert f"There is no store in {tmp_path / 'elsewhere'}." in jan(named, "user", "list", code=1)
    jan(config, "user", "add", "ada@example.org")
    unknown = jan(config, "key", "add", "bob@example.org", "--name", "x", code=1)
    assert f"The data folder is {tmp_path / 'data'}." in unknown


def test_users_and_keys_without_a_server(config: Path) -> None:
    """Users are added, listed and disabled; a key's command prints the key alone."""
    user_id = jan(config, "user", "add", "Ada@Example.org", "--admin", "--name", "Ada").strip()
    assert user_id.startswith("user_")
    assert "ada@example.org" in jan(config, "user", "list")
    key = jan(config, "key", "add", "ada@example.org", "--name", "CI", "--permissions", "read,inference")
    assert key.startswith("jan_")
    assert key.count("\n") == 1
    listed = jan(config, "key", "list", "ada@example.org")
    assert "live" in listed
    assert "read,inference" in listed
    assert key.strip() not in listed
    jan(config, "key", "revoke", listed.split()[0])
    assert "revoked" in jan(config, "key", "list", "ada@example.org")
    jan(config, "user", "disable", "ada@example.org")
    assert "disabled" in jan(config, "user", "list")
    jan(config, "user", "enable", "ada@example.org")
    assert "enabled" in jan(config, "user", "list")


def test_lists_have_no_end_but_their_own(config: Path, tmp_path: Path) -> None:
    """More users and keys than a thousand are all shown."""
    owner = jan(config, "user", "add", "ada@example.org").strip()
    users = [User(email=f"{number}@example.org") for number in range(1100)]
    keys = [ApiKey(user_id=owner, name="k", prefix="jan_", hash=str(number)) for number in range(1100)]

    async def fill() -> None:
        store = store_from_url(f"sqlite:///{tmp_path}/data/jan.db")
        await store.open()
        await store.archive.insert(User, users)
        await store.archive.insert(ApiKey, keys)
        await store.close()

    asyncio.run(fill())
    listed = {line.split()[0] for line in jan(config, "user", "list").splitlines()}
    assert listed == {owner, *(user.id for user in users)}
    listed = {line.split()[0] for line in jan(config, "key", "list", "ada@example.org").splitlines()}
    assert listed == {key.id for key in keys}


def test_budgets(config: Path) -> None:
    """A user's budget is set field by field, shown, and taken back; a key's is set when it is made."""
    jan(config, "user", "add", "ada@example.org")
    assert "per minute: default, per day: default" in jan(config, "user", "budget", "ada@example.org")
    jan(config, "user", "budget", "ada@example.org", "--tokens-per-minute", "500")
    shown = jan(config, "user", "budget", "ada@example.org", "--tokens-per-day", "9000")
    assert "per minute: 500, per day: 9000" in shown
    shown = jan(config, "user", "budget", "ada@example.org", "--tokens-per-minute", "default")
    assert "per minute: default, per day: 9000" in shown
    for wrong in ("0", "many", "1.5", str(10**30)):
        refused = jan(config, "user", "budget", "ada@example.org", "--tokens-per-day", wrong, code=2)
        assert "a number from 1, or default" in refused
    assert "There is no user" in jan(config, "user", "budget", "nobody@example.org", code=1)
    jan(config, "key", "add", "ada@example.org", "--name", "small", "--tokens-per-day", "7")


def test_beside_a_running_server(config: Path) -> None:
    """A key and a token made beside a running server work at once."""
    server = ServerProcess(config)
    try:
        jan(config, "user", "add", "bob@example.org")
        with http_client(server) as client:
            for credential in (
                jan(config, "key", "add", "bob@example.org", "--name", "x").strip(),
                jan(config, "user", "token", "bob@example.org").strip(),
            ):
                profile = client.get("/api/v1/user/profile", headers={"Authorization": f"Bearer {credential}"})
                assert profile.json()["email"] == "bob@example.org"
        assert server.stop() == 0
    finally:
        server.kill_if_running()


def test_the_first_start_makes_an_administrator_once(config: Path) -> None:
    """The first start makes a key, a second one does not, and the key goes on working. Where output is no
    terminal, the key is in a file that only its owner can read, and neither in the output nor in the log."""
    first = ServerProcess(config)
    assert first.admin_key.startswith("jan_")
    assert first.stop() == 0
    assert not any(first.admin_key in line for line in [first.banner, *first.stderr])
    [file] = config.parent.rglob("admin-key")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert [entry["file"] for entry in first.log if entry["event"] == "administrator's key written"] == [str(file)]
    second = ServerProcess(config)
    assert second.admin_key == ""
    with http_client(second, headers={"Authorization": f"Bearer {first.admin_key}"}) as client:
        assert client.get("/api/v1/user/profile").json()["role"] == "admin"
    assert second.stop() == 0


def test_a_link_signs_the_administrator_in(config: Path) -> None:
    """The first start makes one, in a file that only its owner can read. Its code is in no log, and in the
    fragment, which goes to no server. It works once and ends with the server; `jan user link` makes another."""
    first = ServerProcess(config)
    [file] = config.parent.rglob("start-link")
    url, _, code = file.read_text().strip().partition("/#start=")
    assert (url, len(code)) == (first.url, 43)
    assert file.stat().st_mode & 0o777 == 0o600
    assert first.stop() == 0
    assert not any(code in line for line in [first.banner, *first.stderr])
    second = ServerProcess(config)
    with http_client(second, headers={"Origin": second.url}) as client:

        def follow(code: str) -> tuple[int, str]:
            told = client.post("/api/v1/auth/session", json={"code": code})
            return told.status_code, told.json().get("user", {}).get("role") or told.json()["error"]["code"]

        assert follow(code) == (401, "link_not_valid")
        link = jan(config, "user", "link", FIRST_ADMIN).strip()
        assert link.startswith("http://127.0.0.1:8080/#start=")
        code = link.partition("=")[2]
        assert [follow(code), follow(code)] == [(200, "admin"), (401, "link_not_valid")]
        acts = [entry["act"] for entry in client.get("/api/v1/user/audit").json()["data"]]
        assert acts[:2] == ["user.signed_in", "sign_in.link_made"]
    assert second.stop() == 0
    assert not any(code in line for line in [second.banner, *second.stderr])


def test_there_is_no_link_for_whom_nobody_lets_in(config: Path) -> None:
    """For a user who is disabled or not there, or without a page."""
    jan(config, "user", "add", "bob@example.org")
    jan(config, "user", "disable", "bob@example.org")
    assert "disabled" in jan(config, "user", "link", "bob@example.org", code=1)
    assert "There is no user" in jan(config, "user", "link", "eve@example.org", code=1)
    jan(config, "user", "enable", "bob@example.org")
    config.write_text(f"{config.read_text()}sign_in: {{public_url: 'https://jan.example.com/'}}\n")
    assert jan(config, "user", "link", "bob@example.org").startswith("https://jan.example.com/#start=")
    config.write_text(f"{config.read_text()}endpoints: {{page: off}}\n")
    assert "The web page is off" in jan(config, "user", "link", "bob@example.org", code=1)


def test_on_a_terminal_the_key_and_a_link_are_shown(config: Path) -> None:
    """They are in no file then."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "jan", "serve", "--config", str(config), "--port", "0"]
    server = subprocess.Popen(command, cwd=config.parent, stdout=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    try:
        with open(ours) as shown, otherwise(server.kill, 60):
            lines = list(iter(shown.readline, "  Stop it  Ctrl-C\n"))
        assert [line.split()[1][:4] for line in lines if line.startswith("  Key ")] == ["jan_"]
        links = [line.split()[2] for line in lines if line.startswith("  Sign in  ")]
        assert [link.partition("/#")[2][:6] for link in links] == ["start="]
        # The command that is shown makes another one for this server, which is not at the configured port.
        [another] = [line.split() for line in lines if " user link " in line]
        assert another[:3] == ["python", "-m", "jan"]
        assert jan(config, *another[3:]).partition("/#")[0] == links[0].partition("/#")[0]
        assert [*config.parent.rglob("admin-key"), *config.parent.rglob("start-link")] == []
        server.terminate()
        assert server.wait(30) == 0
    finally:
        server.kill()
        server.wait()


def test_a_key_that_can_not_be_written_is_not_shown_either(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason is told, and how to make another one."""
    monkeypatch.setattr(sys, "argv", ["jan"])
    (tmp_path / "admin-key").mkdir()
    hand_over("jan_secret", tmp_path)
    told = capsys.readouterr()
    assert "jan_secret" not in told.out + told.err
    assert [file.name for file in tmp_path.iterdir()] == ["admin-key"]
    assert "can't be written" in told.out
    assert f"jan key add {FIRST_ADMIN} --name NAME" in told.out


def test_everything_moves_from_store_to_store(config: Path, tmp_path: Path) -> None:
    """What was exported can be imported elsewhere; the file is readable to its owner only."""
    jan(config, "user", "add", "ada@example.org")
    file = tmp_path / "everything.jsonl"
    jan(config, "store", "export", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    other = tmp_path / "other.yaml"
    other.write_text(f"{ECHO_CONFIG}\ndata: {tmp_path}/other\n")
    jan(other, "store", "import", str(file))
    assert jan(other, "user", "list") == jan(config, "user", "list")
    assert "exists" in jan(config, "store", "export", str(file), code=2)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("user", "add", "nobody"), 2, "not an e-mail address"),
        (("user", "disable", "nobody@example.org"), 1, "no user nobody@example.org"),
        (("key", "add", "nobody@example.org", "--name", "x"), 1, "no user nobody@example.org"),
        (("key", "add", "a@b", "--name", "x", "--permissions", "root"), 2, "Unknown permission 'root'"),
        (("key", "revoke", "key_0"), 1, "no key key_0"),
        (("store", "import", "/nonexistent"), 2, "does not exist"),
        (("store", "export", "/nonexistent/file"), 1, "No such file or directory"),
        (("store", "export", "/dev/full/x"), 1, "Not a directory"),
    ],
)
def test_mistakes_are_explained(config: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    """Each mistake is told in words, with an exit code that is not 0, and never a traceback."""
    jan(config, "user", "add", "ada@example.org")
    told = jan(config, *arguments, code=code)
    assert said in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    "email", ["bos\u212a@example.org", "a\x1b[2J@example.org", "a b@example.org", "a@b@c", "a"], ids=ascii
)
def test_an_address_that_is_none_makes_no_user(config: Path, email: str) -> None:
    """It is refused in printable words, and not even a store is made for it."""
    said = jan(config, "user", "add", email, code=2)
    assert "is not an e-mail address; allowed: addresses like ada@example.com" in " ".join(said.split())
    assert "\x1b" not in said
    assert not (config.parent / "data").exists()
