"""Read settings from YAML and the environment. A mistake is one line with file, path and what is allowed."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from jan.errors import ConfigurationError, Mistakes
from jan.settings import Settings
from jan.settings.exposure import check_exposure
from jan.settings.layers import (
    apply_variables,
    assign,
    default_config_file,
    place_of,
    read_file,
    read_text,
    without_places,
)
from jan.settings.mistakes import find_mistakes
from jan.settings.names import decode_name, unknown_engines
from jan.settings.secret_files import SecretEnvironment, take_secrets

__all__ = ["Configuration", "default_config_file", "load_configuration", "load_settings", "settings_from_text"]

# The path that an error begins with, such as "models[0] (a): options.slots: ...".
_STEPS = r"[^\s.()\[\]:]+(?:\.[^\s.()\[\]:]+|\[\d+\])*"
_PATH = re.compile(rf"(?P<path>{_STEPS})(?: \(\S+\)(?:: (?P<rest>{_STEPS}))?)?: ")


class Configuration:
    """The settings of a file, and the places where they are written.

    ``secret_files``: the files that secrets were read from, by the setting or variable that names them.
    """

    def __init__(self, file: Path, tree: dict[str, Any]) -> None:
        """Read the settings. Raises ConfigurationError, its message one line for each mistake."""
        self._file = file
        self._tree = tree
        try:
            self.secret_files = take_secrets(tree)
        except ConfigurationError as error:
            raise self.placed(error) from error
        plain = without_places(tree)
        try:
            self.settings = msgspec.convert(plain, Settings, strict=False, dec_hook=decode_name)
        except msgspec.ValidationError as error:
            found = [f"{one.path or 'the document'}: {one.message}" for one in find_mistakes(plain, Settings)]
            raise self._mistaken(found, plain) from error
        try:
            _check(self.settings)
        except ConfigurationError as error:
            raise self._mistaken([error.message], plain) from error

    def _mistaken(self, found: list[str], plain: dict[str, Any]) -> ConfigurationError:
        """Return the error of these mistakes, and of engines, which are else looked for when nothing is wrong."""
        return self.placed(ConfigurationError("\n".join([*found, *unknown_engines(plain)])))

    def placed(self, error: ConfigurationError) -> ConfigurationError:
        """Return an error whose lines begin with a path, with the file and line or the variable of each."""
        return ConfigurationError("\n".join(map(self._placed, error.message.splitlines())))

    def _placed(self, line: str) -> str:
        found = _PATH.match(line)
        path = ".".join(filter(None, found.groups())) if found else ""
        place = place_of(self._tree, path) or str(self._file)
        # Our own file is right by itself: what it says does not fit what another one says.
        ours = place.startswith(f"{default_config_file()}:")
        return f"{self._file if ours else place}: {line}"


def load_configuration(file: Path, environ: Mapping[str, str] = os.environ, **overrides: Any) -> Configuration:
    """Read a configuration file. ``overrides`` are like ``server__port=0``; None overrides nothing.

    Raises ConfigurationError, its message one line for each mistake: file and line, path, and what is allowed.
    """
    secrets = SecretEnvironment(environ)
    return _layered(read_file(file, secrets), file, secrets, overrides)


def load_settings(file: Path, environ: Mapping[str, str] = os.environ, **overrides: Any) -> Settings:
    """Read a configuration file as ``load_configuration`` does, for its settings alone."""
    return load_configuration(file, environ, **overrides).settings


def settings_from_text(text: str, file: Path, environ: Mapping[str, str], **overrides: Any) -> Settings:
    """Read a configuration that is in no file. ``file`` is its place for relative paths, dotted names and
    messages."""
    secrets = SecretEnvironment(environ)
    return _layered(read_text(text, file, secrets), file, secrets, overrides).settings


def _layered(
    tree: dict[str, Any], file: Path, environ: SecretEnvironment, overrides: Mapping[str, Any]
) -> Configuration:
    apply_variables(tree, environ)
    for key, value in overrides.items():
        if value is not None:
            keys = key.split("__")
            assign(tree, f"--{keys[-1]}", keys, value)
    configuration = Configuration(file, tree)
    configuration.secret_files.update(environ.files)
    return configuration


def _check(settings: Settings) -> None:
    """Check what the settings mean together. Raises ConfigurationError with every mistake."""
    mistakes = Mistakes()
    with mistakes.collecting():
        check_exposure(settings)
    if (mistake := settings.sign_in.mistake(settings.server.host)) is not None:
        mistakes.add(f"sign_in.{mistake}")
    with mistakes.collecting():
        _check_names(settings)
    mistakes.raise_any()


def _check_names(settings: Settings) -> None:
    """Check that ids and aliases name one model each."""
    mistakes, seen = Mistakes(), dict[str, int]()
    for index, model in enumerate(settings.models):
        for name in (model.id, *model.aliases):
            if name in seen:
                mistakes.add(f"models[{index}]: The name '{name}' is that of models[{seen[name]}] already.")
            seen.setdefault(name, index)
    mistakes.raise_any()
