"""Configuration files. Whatever is in one, there are settings, or a ConfigurationError with all mistakes."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import gettempdir

import msgspec

from jan.errors import ConfigurationError
from jan.settings import Settings
from jan.settings.load import default_config_file, settings_from_text

_FILE = Path(gettempdir()) / "fuzzed" / "jan.yaml"
_ENVIRONMENT = {"SECRET": "s3cret-value", "JAN__LOG__LEVEL": "debug"}
_HIDDEN = "s3cret-value"


def _any(kind: type) -> dict[str, object]:
    return {"description": kind.__name__}


def words() -> Iterable[bytes]:
    """Yield the names of settings, and what YAML is made of."""
    for member in msgspec.json.schema_components([Settings], schema_hook=_any)[1].values():
        for name, value in member.get("properties", {}).items():
            yield f"{name}: ".encode()
            yield from (str(one).encode() for one in value.get("enum", ()))
    yield from b"extends: default\n ${SECRET} ${A:-b} !!int !!float !!bool !!null !!str !!timestamp !!set".split(
        b" "
    )
    yield from b"!!binary !!python/name:os <<: &a *a -\n ? |\n >-\n %YAML 0o17 .inf .nan 1:30 '' 0x 0b".split(b" ")


def seeds() -> Iterable[bytes]:
    """Yield parts of the configuration that comes with the server, and a few forms of YAML."""
    text = default_config_file().read_text()
    parts = text.split("\n\n")
    yield from ("\n\n".join(parts[at : at + 2]).encode()[:3000] for at in range(0, len(parts), 2))
    yield b"extends: default\nserver: {port: 1, host: 127.0.0.1}\nmodels:\n- {id: a, engine: echo, aliases: [b]}\n"
    yield b"a: &x [1]\nb: *x\nstorage: {url: '${SECRET}'}\nsign_in: {issuer: 'https://a.example', client_id: x}\n"
    yield b"limits: {user: {tokens_per_day: !!int '5'}, key: {<<: {tokens_per_day: 1_000}}}\nlog: {level: info}\n"


def check(data: bytes) -> None:
    """Read one configuration."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return  # the file reader says so, before this
    try:
        settings = settings_from_text(text, _FILE, _ENVIRONMENT)
    except ConfigurationError as error:
        _check_message(error)
    else:
        assert isinstance(settings, Settings)
        assert _HIDDEN not in repr(settings.storage) + repr(settings.sign_in)


def _check_message(error: ConfigurationError) -> None:
    assert error.message.strip()
    error.message.encode()
    longest = max(map(len, error.message.splitlines()))  # the command shows twenty lines, however many there are
    assert longest < 10_000, longest
