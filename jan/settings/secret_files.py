"""Secrets from files, as Docker, Kubernetes and systemd hand them over: ``NAME_FILE`` instead of ``NAME``."""

import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from jan.errors import ConfigurationError
from jan.settings.layers import place_of
from jan.settings.plain_yaml import PlacedKey

log = structlog.get_logger(__name__)

#: Settings that are secrets. Each may be in a file, which the setting with ``_file`` behind it names.
SECRETS = (("storage", "url"), ("sign_in", "client_secret"))
_SETTING_SUFFIX = "_file"
_SUFFIX = "_FILE"
_MOST_BYTES = 1 << 16


def read_secret(file: str, source: str) -> str:
    """Return the text of a file without the line break at its end.

    Raises ConfigurationError that names ``source``, and never the text, if there is no such text.
    """
    try:
        with Path(file).expanduser().open("rb") as opened:
            data = opened.read(_MOST_BYTES + 1)
        text = data.decode()
    except OSError as error:
        raise ConfigurationError(f"{source}: The file {file} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{source}: The file {file} is not UTF-8.") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or len(data) > _MOST_BYTES:
        what = "is empty" if not text else f"has more than {_MOST_BYTES} bytes"
        raise ConfigurationError(f"{source}: The file {file} {what}; allowed: a secret and a line break.")
    if any(letter < " " or letter == "\x7f" for letter in text):
        raise ConfigurationError(f"{source}: The file {file} has more than one line, or control characters.")
    return text


def take_secrets(tree: dict[str, Any]) -> dict[str, str]:
    """Fill in the secrets of a configuration that are in files; returns the files by the settings that name them.

    Raises ConfigurationError for a secret that is given twice.
    """
    files = {}
    for section, key in SECRETS:
        node = tree.get(section)
        file = node.get(key + _SETTING_SUFFIX) if isinstance(node, dict) else None
        if not isinstance(node, dict) or not isinstance(file, str):
            continue  # a wrong type is reported with the others
        setting = f"{section}.{key}{_SETTING_SUFFIX}"
        if node.get(key):
            raise ConfigurationError(f"{setting}: {section}.{key} is given too; allowed: one of them.")
        node.pop(key, None)
        files[setting] = file
        node[PlacedKey.at(place_of(tree, setting) or setting, key)] = read_secret(file, setting)
    return files


def warn_of_open_files(files: Mapping[str, str]) -> None:
    """Log a warning for each file that every user of this machine may read. ``files``: by who names them."""
    for source, file in files.items():
        with suppress(OSError):
            if Path(file).expanduser().stat().st_mode & stat.S_IROTH:
                log.warning("every user of this machine may read a secret's file", file=file, named_by=source)


class SecretEnvironment(Mapping[str, str]):
    """An environment in which ``NAME`` has the text of the file that ``NAME_FILE`` names.

    ``files``: those that were read, by the names of their variables. Raises ConfigurationError for a name that has
    both.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.files: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        variable = name + _SUFFIX
        file = self._environ.get(variable)
        if file is None:
            return self._environ[name]
        if name in self._environ:
            raise ConfigurationError(f"{variable}: The environment has {name} too; allowed: one of them.")
        self.files[variable] = file
        return read_secret(file, variable)

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)
