"""Read settings from YAML and the environment. A mistake is one line with file, path and what is allowed."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from jan.errors import ConfigurationError
from jan.schema.explain import explain
from jan.settings import ANYONE, Settings
from jan.settings.addresses import is_loopback
from jan.settings.names import decode_name, mark_names

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
_OVERRIDE = "JAN__"


def default_config_file() -> Path:
    """Return the configuration file that comes with the package."""
    return Path(__file__).resolve().parents[2] / "conf" / "jan.yaml"


def load_settings(file: Path, environ: Mapping[str, str] = os.environ, **overrides: Any) -> Settings:
    """Read a configuration file. ``overrides`` are like ``server__port=0``; None overrides nothing.

    Raises ConfigurationError, its message one line with file, path and what is allowed.
    """
    return _settings_of(_read(file, environ), file, environ, overrides)


def settings_from_text(text: str, file: Path, environ: Mapping[str, str], **overrides: Any) -> Settings:
    """Read a configuration that is in no file. ``file`` is its place for relative paths, dotted names and
    messages."""
    return _settings_of(_resolve(text, file, environ), file, environ, overrides)


def _settings_of(
    tree: dict[str, Any], file: Path, environ: Mapping[str, str], overrides: Mapping[str, Any]
) -> Settings:
    for variable in sorted(name for name in environ if name.startswith(_OVERRIDE)):
        _assign(tree, variable, variable.removeprefix(_OVERRIDE).lower().split("__"), environ[variable])
    for key, value in overrides.items():
        if value is not None:
            _assign(tree, key, key.split("__"), value)
    try:
        settings = msgspec.convert(tree, Settings, strict=False, dec_hook=decode_name)
    except msgspec.ValidationError as error:
        why = explain(error, Settings)
        raise ConfigurationError(f"{file}: {why.path or 'the document'}: {why.message}") from error
    _check_exposure(file, settings)
    _check_names(file, settings)
    return settings


def _parse(text: str) -> Any:
    """Read plain data from YAML, by libyaml where PyYAML has it: that is several times as fast."""
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _read(file: Path, environ: Mapping[str, str], seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a file's mapping, fill in its variables, and put it on top of the file that it ``extends``."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: It can't be read: {getattr(error, 'strerror', error)}.") from error
    return _resolve(text, file, environ, seen)


def _resolve(text: str, file: Path, environ: Mapping[str, str], seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    try:
        tree = _parse(text) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        raise ConfigurationError(
            f"{file}:{line} It is not valid YAML: {getattr(error, 'problem', error)}."
        ) from error
    if not isinstance(tree, dict):
        raise ConfigurationError(f"{file}: It must be a mapping, not a {type(tree).__name__}.")
    try:
        tree = {key: _fill(value, file, str(key), environ) for key, value in tree.items()}
    except RecursionError as error:
        raise ConfigurationError(f"{file}: An anchor in it contains its own alias, or it is too deep.") from error
    mark_names(tree, file.resolve())
    base = tree.pop("extends", None)
    if base is None:
        return tree
    parent = (file.parent / str(base)).resolve()
    if not parent.is_file():
        raise ConfigurationError(
            f"{file}: extends: There is no file {parent}. A path in a file is relative to that file. The default "
            f"configuration is {default_config_file()}."
        )
    if parent in seen:
        raise ConfigurationError(f"{file}: extends: The file {base} leads back to this one.")
    return _merge(_read(parent, environ, (*seen, file.resolve())), tree)


def _fill(value: Any, file: Path, path: str, environ: Mapping[str, str]) -> Any:
    """Replace ``${NAME}`` and ``${NAME:-default}`` in every text of a tree."""
    if isinstance(value, dict):
        return {key: _fill(item, file, f"{path}.{key}", environ) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, file, f"{path}[{index}]", environ) for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def substitute(match: re.Match[str]) -> str:
        found = environ.get(match["name"], match["default"])
        if found is None:
            raise ConfigurationError(
                f"{file}: {path}: The environment has no {match['name']}. "
                f"Set it, or write ${{{match['name']}:-default}}."
            )
        return found

    return _VARIABLE.sub(substitute, value)


def _merge(base: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Put ``above`` over ``base``: mappings key by key, routes path by path, anything else as a whole."""
    merged = dict(base)
    for key, value in above.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[key] = _merge(below, value)
        elif key == "routes" and isinstance(below, list) and isinstance(value, list):
            merged[key] = _merge_routes(below, value)
        else:
            merged[key] = value
    return merged


def _merge_routes(base: list[Any], above: list[Any]) -> list[Any]:
    paths = [route.get("path") for route in above if isinstance(route, dict)]
    return [*(route for route in base if not isinstance(route, dict) or route.get("path") not in paths), *above]


def _assign(tree: dict[str, Any], source: str, keys: list[str], value: Any) -> None:
    """Set one value deep in a tree. A text that is a YAML list or mapping is read as one."""
    if isinstance(value, str) and value.startswith(("[", "{")):
        try:
            value = _parse(value)
        except yaml.YAMLError as error:
            raise ConfigurationError(
                f"{source}: It is not valid YAML: {getattr(error, 'problem', error)}."
            ) from error
    node: Any = tree
    for key in keys[:-1]:
        if isinstance(node, list) and key.isdigit() and int(key) < len(node):
            node = node[int(key)]
        elif isinstance(node, dict):
            node = node.setdefault(key, {})
        else:
            raise ConfigurationError(f"{source}: There is nothing at '{key}' to set.")
    if not isinstance(node, dict):
        raise ConfigurationError(f"{source}: The key '{keys[-1]}' can't be set there.")
    node[keys[-1]] = value


def _check_exposure(file: Path, settings: Settings) -> None:
    if settings.access.anonymous == "on-loopback" and not is_loopback(settings.server.host):
        raise ConfigurationError(
            f"{file}: access.anonymous: Other machines can reach server.host {settings.server.host}, and "
            "'on-loopback' allows requests without credentials on loopback only; allowed here: 'refuse', or "
            f"'{ANYONE}' to let anyone use the models."
        )
    if settings.access.anonymous == "on-loopback" and settings.server.trusted_proxies:
        raise ConfigurationError(
            f"{file}: access.anonymous: Whoever reaches a proxy of server.trusted_proxies reaches this server, "
            "and 'on-loopback' allows requests without credentials on loopback only; allowed here: 'refuse', or "
            f"'{ANYONE}' to let anyone use the models."
        )
    mistake = settings.sign_in.mistake(settings.server.host)
    if mistake is not None:
        key, _, why = mistake.partition(": ")
        raise ConfigurationError(f"{file}: sign_in.{key}: {why}")


def _check_names(file: Path, settings: Settings) -> None:
    """Check that ids and aliases name one model each."""
    seen: dict[str, int] = {}
    for index, model in enumerate(settings.models):
        for name in (model.id, *model.aliases):
            if name in seen:
                raise ConfigurationError(
                    f"{file}: models[{index}]: The name '{name}' is that of models[{seen[name]}] already."
                )
            seen[name] = index
