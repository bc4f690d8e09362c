"""Secrets come from files as well: by settings, by variables, and never into a message."""

from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner

from jan.cli.commands import main
from jan.errors import ConfigurationError
from jan.settings.load import default_config_file, load_configuration, load_settings
from jan.settings.secret_files import SecretEnvironment, warn_of_open_files

SECRET = "mongodb://ada:p4ssw0rd@db/jan"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    file.chmod(0o600)
    return file


def configured(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "jan.yaml"
    file.write_text(f"extends: default\n{text}\n")
    return file


def mistake(file: Path, environ: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as refused:
        load_settings(file, environ)
    assert "p4ssw0rd" not in refused.value.message
    return refused.value.message


def test_a_setting_names_the_file_of_a_secret(tmp_path: Path, secret: Path) -> None:
    text = f"storage: {{url_file: {secret}}}\nsign_in: {{client_id: x, client_secret_file: {secret}}}"
    settings = load_settings(configured(tmp_path, text), {})
    assert settings.storage_url == SECRET
    assert settings.sign_in.client_secret == SECRET


def test_a_variable_names_the_file_of_a_setting(secret: Path) -> None:
    settings = load_settings(default_config_file(), {"JAN__STORAGE__URL_FILE": str(secret)})
    assert settings.storage_url == SECRET


def test_a_variable_of_the_file_may_be_in_a_file(tmp_path: Path, secret: Path) -> None:
    """Whatever it is, as in the default configuration."""
    google = {"JAN_GOOGLE_CLIENT_ID": "x", "JAN_GOOGLE_CLIENT_SECRET_FILE": str(secret)}
    configuration = load_configuration(default_config_file(), google)
    assert configuration.settings.sign_in.client_secret == SECRET
    assert configuration.secret_files == {"JAN_GOOGLE_CLIENT_SECRET_FILE": str(secret)}
    file = configured(tmp_path, "storage: {url: '${DB}'}")
    assert load_settings(file, {"DB_FILE": str(secret)}).storage_url == SECRET


@pytest.mark.parametrize("written", ["p", "p\n", "p\r\n", " p \n", "[p]", "{p: 1}", "\u00fc\n"])
def test_only_the_line_break_at_the_end_is_dropped(tmp_path: Path, secret: Path, written: str) -> None:
    secret.write_bytes(written.encode())
    file = configured(tmp_path, f"sign_in: {{client_secret_file: {secret}}}")
    assert load_settings(file, {}).sign_in.client_secret == written.rstrip("\r\n")


@pytest.mark.parametrize(
    ("text", "environ", "words"),
    [
        ("storage: {url: sqlite:///a.db, url_file: FILE}", {}, "storage.url is given too; allowed: one of them"),
        ("storage: {url: sqlite:///a.db}", {"JAN__STORAGE__URL_FILE": "FILE"}, "storage.url is given too"),
        ("storage: {url_file: FILE}", {"JAN__STORAGE__URL": "sqlite:///a.db"}, "storage.url is given too"),
        ("storage: {url: '${DB}'}", {"DB": "x", "DB_FILE": "FILE"}, "DB_FILE: The environment has DB too"),
        ("storage: {url_file: 5}", {}, "storage.url_file: Expected"),
    ],
)
def test_a_secret_that_is_given_twice_is_a_mistake(
    tmp_path: Path, secret: Path, text: str, environ: dict[str, str], words: str
) -> None:
    file = configured(tmp_path, text.replace("FILE", str(secret)))
    assert words in mistake(file, {name: value.replace("FILE", str(secret)) for name, value in environ.items()})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "can't be read: No such file or directory"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"p4ssw0rd\nmore\n", "has more than one line"),
        (b"p4ssw0rd\0", "control characters"),
        (b"p4ssw0rd\xff", "is not UTF-8"),
        (b"p4ssw0rd" * 10_000, "has more than 65536 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_file_without_a_secret_is_a_mistake(
    tmp_path: Path, secret: Path, content: bytes | None, words: str
) -> None:
    """The line names setting, place and file."""
    secret.unlink()
    if content is not None:
        secret.write_bytes(content)
    told = mistake(configured(tmp_path, f"storage: {{url_file: {secret}}}"), {})
    assert told.startswith(f"{tmp_path / 'jan.yaml'}:2: storage.url_file: The file {secret} ")
    assert words in told
    told = mistake(default_config_file(), {"JAN_GOOGLE_CLIENT_SECRET_FILE": str(secret)})
    assert told.startswith(f"JAN_GOOGLE_CLIENT_SECRET_FILE: The file {secret} ")


@pytest.mark.parametrize(("mode", "warnings"), [(0o600, 0), (0o640, 0), (0o644, 1), (0o604, 1)])
def test_a_file_that_everybody_may_read_is_warned_of(secret: Path, mode: int, warnings: int) -> None:
    secret.chmod(mode)
    logged: list[Any]
    with structlog.testing.capture_logs() as logged:
        warn_of_open_files({"storage.url_file": str(secret)})
    assert [entry["named_by"] for entry in logged] == ["storage.url_file"] * warnings


def test_the_chat_takes_its_key_from_a_file(secret: Path) -> None:
    """Both ways at once are refused before anything is sent."""
    environ = {"JAN_API_KEY": "p4ssw0rd", "JAN_API_KEY_FILE": str(secret)}
    assert SecretEnvironment({"JAN_API_KEY_FILE": str(secret)}).get("JAN_API_KEY") == SECRET
    refused = CliRunner().invoke(main, ["chat", "--url", "http://127.0.0.1:9/v1"], env=environ)
    assert refused.exit_code == 1
    assert "jan: JAN_API_KEY_FILE: The environment has JAN_API_KEY too" in refused.output
