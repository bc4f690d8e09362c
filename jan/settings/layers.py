"""Put a configuration together from its layers: the files it extends, the file itself, variables and options."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jan.errors import ConfigurationError
from jan.settings.names import mark_names
from jan.settings.plain_yaml import PlacedKey, parse_yaml

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
_OVERRIDE = "JAN__"
# In place of a file: the configuration that comes with the package.
_DEFAULT = "default"
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def default_config_file() -> Path:
    """Return the configuration file that comes with the package."""
    return Path(__file__).resolve().parents[2] / "conf" / "jan.yaml"


def read_file(file: Path, environ: Mapping[str, str], seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a file's mapping, fill in its variables, and put it on top of the file that it ``extends``."""
    try:
        data = file.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"{file}: It can't be read: {reason}.") from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(
            f"{file}:{line}: It can't be read: The byte 0x{data[error.start]:02x} is not UTF-8."
        ) from error
    return read_text(text, file, environ, seen)


def _named(value: Any) -> str:
    return "a list" if isinstance(value, list) else "one value"


def read_text(text: str, file: Path, environ: Mapping[str, str], seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a mapping as ``read_file`` does; ``file`` is its place for relative paths and messages."""
    tree = parse_yaml(text, str(file))
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise ConfigurationError(
            f"{file}: The whole file is {_named(tree)}. It must be a mapping, such as 'server: {{port: 1337}}'."
        )
    tree = {key: _fill(value, key.place, key, environ) for key, value in tree.items()}
    mark_names(tree, file.resolve())
    base = tree.pop("extends", None)
    if base is None:
        return tree
    parent = (file.parent / str(base)).resolve()
    if base == _DEFAULT and not parent.exists():
        parent = default_config_file()
    if not parent.is_file():
        raise ConfigurationError(
            f"{file}: extends: There is no file {parent}. A path in a file is relative to that file. The default "
            f"configuration is '{_DEFAULT}', {default_config_file()}."
        )
    if parent in (*seen, file.resolve()):
        raise ConfigurationError(f"{file}: extends: The file {base} leads back to this one.")
    return _merge(read_file(parent, environ, (*seen, file.resolve())), tree)


def _fill(value: Any, place: str, path: str, environ: Mapping[str, str]) -> Any:
    """Replace ``${NAME}`` and ``${NAME:-default}`` in every text of a tree."""
    if isinstance(value, dict):
        return {key: _fill(item, key.place, f"{path}.{key}", environ) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, place, f"{path}[{index}]", environ) for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def substitute(match: re.Match[str]) -> str:
        found = environ.get(match["name"], match["default"])
        if found is None:
            raise ConfigurationError(
                f"{place}: {path}: The environment has no {match['name']}. "
                f"Set it, or write ${{{match['name']}:-default}}."
            )
        return found

    return _VARIABLE.sub(substitute, value)


def _merge(base: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Put ``above`` over ``base``: mappings key by key, routes path by path, anything else as a whole."""
    # The keys of ``above`` replace equal ones of ``base``, because they know their place.
    merged = {key: value for key, value in base.items() if key not in above}
    for key, value in above.items():
        below = base.get(key)
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


def apply_variables(tree: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Set what the ``JAN__`` variables of an environment say, as ``JAN__SERVER__PORT`` says ``server.port``."""
    seen: dict[str, str] = {}
    for variable in sorted(name for name in environ if name.startswith(_OVERRIDE)):
        path = variable.removeprefix(_OVERRIDE).lower()
        if path in seen:
            raise ConfigurationError(f"{variable}: The variable {seen[path]} sets the same; allowed: one of them.")
        seen[path] = variable
        if "" in path.split("__"):
            raise ConfigurationError(f"{variable}: It names no setting; allowed: names like JAN__SERVER__PORT.")
        assign(tree, variable, path.split("__"), environ[variable])


def assign(tree: dict[str, Any], source: str, keys: list[str], value: Any) -> None:
    """Set one value deep in a tree. A text that is a YAML list or mapping is read as one.

    Raises ConfigurationError that names ``source``, never the value.
    """
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        value = parse_yaml(value, source, lines=False)
    node: Any = tree
    for key in keys[:-1]:
        if isinstance(node, list) and key.isdecimal() and int(key) < len(node):
            node = node[int(key)]
        elif isinstance(node, dict):
            if node.get(key) is None:
                node.pop(key, None)
                node[PlacedKey.at(source, key)] = {}
            node = node[key]
        else:
            raise ConfigurationError(f"{source}: There is nothing at '{key}' to set.")
    if not isinstance(node, dict):
        raise ConfigurationError(f"{source}: The key '{keys[-1]}' can't be set there.")
    node.pop(keys[-1], None)
    node[PlacedKey.at(source, keys[-1])] = value


def place_of(tree: dict[str, Any], path: str) -> str | None:
    """Return where a tree says what is at a path, or what is nearest above it; None if it says nothing there."""
    node: Any = tree
    place: str | None = None
    for name, index in _STEP.findall(path):
        if index and isinstance(node, list) and int(index) < len(node):
            node = node[int(index)]
            place = next((key.place for key in node), place) if isinstance(node, dict) else place
        elif name and isinstance(node, dict):
            place = next((key.place for key in node if key == name), place)
            node = node.get(name)
        else:
            break
    return place


def without_places(tree: Any) -> Any:
    """Return a tree with plain texts as keys, as msgspec wants them."""
    if isinstance(tree, dict):
        return {str(key): without_places(value) for key, value in tree.items()}
    return [without_places(item) for item in tree] if isinstance(tree, list) else tree
